//! Lines that are longer than the terminal is wide, folded between words. A command to type is one word: half of it, copied, is
//! another command.

/// No terminal is so narrow that less could be read.
const LEAST: usize = 40;

/// The parts of `line` that fit `width`. Those after the first are indented as the line is, and `indent` more.
pub fn fold(line: &str, width: Option<usize>, indent: usize) -> Vec<String> {
    let Some(width) = width.map(|width| width.max(LEAST)) else {
        return vec![line.to_owned()];
    };
    let own = line.chars().take_while(|c| *c == ' ').count();
    let hang = " ".repeat((own + indent).min(width / 2));
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut length = 0;
    for word in words(line) {
        let command = word.trim_end().contains(' ');
        let count = word.trim_end().chars().count();
        if length + count > width && length > hang.len() {
            parts.push(std::mem::replace(&mut part, hang.clone()).trim_end().to_owned());
            length = hang.len();
        }
        for character in word.chars() {
            // A word that is longer than the terminal is cut where that ends; of a command the terminal itself breaks the line.
            if !command && length == width && character != ' ' {
                parts.push(std::mem::replace(&mut part, hang.clone()));
                length = hang.len();
            }
            part.push(character);
            length += 1;
        }
    }
    parts.push(part.trim_end().to_owned());
    parts
}

/// The words of a line, each with the spaces behind it. What stands in backticks, and a command outside of them up to the end
/// of its clause, is one word.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut ticks = 0;
    let mut command = false;
    let mut end = 0;
    for part in line.split_inclusive(' ') {
        end += part.len();
        let word = part.trim_end();
        let before = ticks;
        ticks += word.matches('`').count();
        // A backtick that is never closed is only a sign.
        let quoted = ticks % 2 == 1 && line[end..].contains('`');
        command |= before % 2 == 0 && COMMANDS.contains(&word);
        command &= !word.ends_with([',', ';', ':', '.', ')']);
        if !quoted && !command {
            words.push(&line[start..end]);
            start = end;
        }
    }
    if start < line.len() {
        words.push(&line[start..]);
    }
    words
}

/// The programs whose commands are printed.
const COMMANDS: [&str; 2] = ["kubectl", "helm"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_between_words_and_hang_below_their_beginning() {
        let line = "    one two three four five six seven eight nine ten";
        assert_eq!(
            fold(line, Some(40), 2),
            ["    one two three four five six seven", "      eight nine ten"]
        );
    }

    #[test]
    fn what_fits_or_goes_to_no_terminal_stays_as_it_is() {
        let line = format!("x  y {}", "z".repeat(35));
        assert_eq!(fold(&line, Some(40), 4), [line.as_str()]);
        let long = "word ".repeat(100);
        assert_eq!(fold(&long, None, 4), [long.as_str()]);
    }

    #[test]
    fn a_command_is_never_broken_however_narrow_the_terminal_is() {
        for (line, command) in [
            (
                "    → create it: kubectl gt auth git --rig demo --key ~/.ssh/deploy-key -n gastown-system",
                "kubectl gt auth git --rig demo --key ~/.ssh/deploy-key -n gastown-system",
            ),
            (
                "it goes on: `kubectl gt polecat status demo/furiosa -n town` shows it, --timeout waits longer",
                "`kubectl gt polecat status demo/furiosa -n town`",
            ),
            (
                "next: kubectl gt auth sync -n gastown-system, then kubectl gt sling BEAD demo -n town",
                "kubectl gt auth sync -n gastown-system,",
            ),
            (
                "make a deploy key without one (`ssh-keygen -t ed25519 -N '' -f a-long-name`) and repeat",
                "(`ssh-keygen -t ed25519 -N '' -f a-long-name`)",
            ),
        ] {
            let parts = fold(line, Some(40), 2);
            assert!(parts.iter().any(|part| part.contains(command)), "{parts:?}");
            let whole: Vec<_> = parts.iter().flat_map(|part| part.split_whitespace()).collect();
            assert_eq!(whole, line.split_whitespace().collect::<Vec<_>>());
        }
        // A lone backtick, or a word about kubectl, holds no line together.
        let prose = "one ` two three four five six seven eight nine; kubectl, it said, and ten eleven twelve";
        assert!(
            fold(prose, Some(40), 0)
                .iter()
                .all(|part| part.chars().count() <= 40)
        );
    }

    #[test]
    fn a_word_without_an_end_is_cut_and_nothing_is_lost() {
        let line = format!("url: https://example.com/{}", "ü".repeat(100));
        let parts = fold(&line, Some(50), 4);
        assert!(parts.iter().all(|part| part.chars().count() <= 50), "{parts:?}");
        let whole: String = parts.iter().map(|part| part.trim_start()).collect();
        assert_eq!(whole.matches('ü').count(), 100);
        assert_eq!(fold("", Some(50), 4), [""]);
    }
}
