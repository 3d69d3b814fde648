//! Names for polecats: Gas Town's pools in its order, or a name that nobody has.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use clap::ValueEnum;

/// A pool of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Theme {
    /// Furiosa, Nux, Slit and others.
    MadMax,
    /// Obsidian, Quartz, Jasper and others.
    Minerals,
    /// Rust, Chrome, Nitro and others.
    Wasteland,
}

const MAD_MAX: &str = "furiosa nux slit rictus dementus capable toast dag cheedo valkyrie keeper morsov ace warboy \
imperator organic coma splendid angharad max immortan bullet toecutter goose nightrider glory scrotus chumbucket corpus \
dinki prime vuvalini rockryder wretched buzzard gastown bullet-farmer citadel wasteland fury road-warrior interceptor \
blackfinger wraith witness chrome shiny mediocre guzzoline aqua-cola";
const MINERALS: &str = "obsidian quartz jasper onyx opal topaz garnet ruby amber jade pearl flint granite basalt marble \
shale slate pyrite mica agate malachite turquoise lapis emerald sapphire diamond amethyst citrine zircon peridot coral \
jet moonstone sunstone bloodstone rhodonite sodalite hematite magnetite calcite fluorite selenite kyanite labradorite \
amazonite chalcedony carnelian aventurine chrysoprase heliodor";
const WASTELAND: &str = "rust chrome nitro guzzle witness shiny fury thunder dust scavenger radrat ghoul mutant raider \
vault pipboy nuka brahmin deathclaw mirelurk synth institute enclave brotherhood minuteman railroad atom crater \
foundation refuge settler wanderer courier lone chosen tribal khan legion ncr ranger overseer sentinel paladin scribe \
initiate elder lancer knight squire proctor";

/// Names of Gas Town's own roles, which no polecat gets.
const RESERVED: [&str; 6] = ["witness", "mayor", "deacon", "refinery", "crew", "polecats"];

/// Names from here on are numbers, as in Gas Town.
const POOL: u64 = 50;

/// The longest name whose pod can still be called `polecat-NAME`.
const MAX_NAME: usize = 55;

impl Theme {
    /// Its names that a polecat may have, in Gas Town's order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let pool = match self {
            Self::MadMax => MAD_MAX,
            Self::Minerals => MINERALS,
            Self::Wasteland => WASTELAND,
        };
        pool.split_ascii_whitespace()
            .filter(|name| !RESERVED.contains(name))
    }

    /// The theme of that name, as a Rig spells it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }
}

/// The first name of the theme that is not in use; beyond the pool, a number.
#[must_use]
pub fn first_free(theme: Theme, used: &BTreeSet<String>) -> String {
    let free = theme
        .names()
        .find(|name| !used.contains(*name))
        .map(str::to_owned);
    // One of them is free: there are more numbers than names in use.
    let last = POOL + 1 + used.len() as u64;
    let number = || {
        let mut numbers = (POOL + 1..=last).map(|number| number.to_string());
        numbers.find(|name| !used.contains(name))
    };
    free.or_else(number).unwrap_or_default()
}

/// `RIG-xxxxxx`, six characters of chance. Who finds it taken asks again.
pub fn random_name(rig: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    // Seeded by the operating system anew in every process: names need no more.
    let state = RandomState::new();
    let mut number = state.build_hasher().finish();
    let mut suffix = String::new();
    for _ in 0..6 {
        let at = usize::try_from(number % LETTERS.len() as u64).unwrap_or_default();
        suffix.push(char::from(LETTERS[at]));
        number /= LETTERS.len() as u64;
    }
    let stem: String = rig
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(MAX_NAME - suffix.len() - 1)
        .collect();
    let stem = stem.trim_matches('-');
    if stem.is_empty() {
        format!("polecat-{suffix}")
    } else {
        format!("{stem}-{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_have_gas_towns_names_without_its_roles() {
        let counts = [Theme::MadMax, Theme::Minerals, Theme::Wasteland].map(|theme| theme.names().count());
        assert_eq!(counts, [49, 50, 49]);
        for theme in [Theme::MadMax, Theme::Minerals, Theme::Wasteland] {
            assert!(
                theme
                    .names()
                    .all(|name| name.len() <= MAX_NAME && !RESERVED.contains(&name))
            );
        }
        let first: Vec<_> = Theme::MadMax.names().take(3).collect();
        assert_eq!(first, ["furiosa", "nux", "slit"]);
    }

    #[test]
    fn a_name_in_use_is_not_chosen_again_and_a_used_up_pool_goes_on_with_numbers() {
        let mut used = BTreeSet::new();
        let mut chosen = Vec::new();
        for _ in 0..51 {
            let name = first_free(Theme::MadMax, &used);
            assert!(used.insert(name.clone()), "{name} twice");
            chosen.push(name);
        }
        assert_eq!(chosen[..2], ["furiosa", "nux"]);
        assert_eq!(chosen[49..], ["51", "52"]);
    }

    #[test]
    fn names_of_chance_fit_a_pod_whatever_the_rig_is_called() {
        for rig in ["my-project", "My.Rig_1", &"a".repeat(253), "_"] {
            let name = random_name(rig);
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(name.len() <= MAX_NAME && name.chars().all(fits), "{name}");
        }
        assert_ne!(random_name("a"), random_name("a"));
    }
}
