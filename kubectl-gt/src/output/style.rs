//! Colour, where a person watches a terminal that shows it. Nothing is said by colour alone.

/// Whether text is coloured.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    coloured: bool,
}

impl Style {
    /// For a stream that is a terminal or not; `NO_COLOR` (<https://no-color.org>) and `TERM=dumb` are obeyed.
    pub fn on(is_terminal: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            coloured: is_terminal && !set("NO_COLOR") && !dumb,
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.coloured && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// What stands out.
    pub fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What stands back.
    pub fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// What went well.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What needs a look.
    pub fn careful(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// What went wrong.
    pub fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// A name.
    pub fn name(self, text: &str) -> String {
        self.paint("36", text)
    }

    /// A phase of a polecat or rig.
    pub fn phase(self, text: &str) -> String {
        match text.trim() {
            "Done" | "Ready" => self.good(text),
            "Stuck" | "Degraded" => self.bad(text),
            "Working" => self.name(text),
            _ => text.to_owned(),
        }
    }
}
