//! Lines that are longer than the terminal is wide, folded between words.

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
    for word in line.split_inclusive(' ') {
        let count = word.trim_end().chars().count();
        if length + count > width && length > hang.len() {
            parts.push(std::mem::replace(&mut part, hang.clone()).trim_end().to_owned());
            length = hang.len();
        }
        for character in word.chars() {
            // A word that is longer than the terminal is cut where that ends.
            if length == width && character != ' ' {
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
    fn a_word_without_an_end_is_cut_and_nothing_is_lost() {
        let line = format!("url: https://example.com/{}", "ü".repeat(100));
        let parts = fold(&line, Some(50), 4);
        assert!(parts.iter().all(|part| part.chars().count() <= 50), "{parts:?}");
        let whole: String = parts.iter().map(|part| part.trim_start()).collect();
        assert_eq!(whole.matches('ü').count(), 100);
        assert_eq!(fold("", Some(50), 4), [""]);
    }
}
