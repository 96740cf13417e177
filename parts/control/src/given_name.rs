use mayfly_runtime::Entropy;

const ADJECTIVES: [&str; 48] = [
    "amber",
    "ancient",
    "autumn",
    "bold",
    "brave",
    "bright",
    "broad",
    "calm",
    "clear",
    "cold",
    "cool",
    "crimson",
    "dawn",
    "deep",
    "dry",
    "dusty",
    "early",
    "fair",
    "floral",
    "fresh",
    "gentle",
    "golden",
    "green",
    "hidden",
    "icy",
    "jolly",
    "late",
    "little",
    "lively",
    "misty",
    "morning",
    "nimble",
    "patient",
    "polished",
    "proud",
    "quiet",
    "rapid",
    "restless",
    "silent",
    "small",
    "snowy",
    "solitary",
    "sparkling",
    "still",
    "summer",
    "wandering",
    "wild",
    "young",
];

const NOUNS: [&str; 48] = [
    "bird",
    "breeze",
    "brook",
    "bush",
    "butterfly",
    "cherry",
    "cloud",
    "creek",
    "darkness",
    "dew",
    "dream",
    "dust",
    "feather",
    "field",
    "fire",
    "firefly",
    "flower",
    "fog",
    "forest",
    "frog",
    "frost",
    "glade",
    "grass",
    "haze",
    "hill",
    "lake",
    "leaf",
    "meadow",
    "moon",
    "mountain",
    "night",
    "paper",
    "pine",
    "pond",
    "rain",
    "resonance",
    "river",
    "sea",
    "shadow",
    "shape",
    "sky",
    "smoke",
    "snow",
    "sound",
    "star",
    "sun",
    "thunder",
    "water",
];

/// A name for what its maker did not name: adjective, noun and a number, such as `quiet-river-4711`.
///
/// About 23 million names exist; whoever stores one must refuse a name that is taken.
pub(crate) fn given_name(entropy: &dyn Entropy) -> String {
    let [adjective, noun, high, low] = entropy.bytes();
    let number = u16::from_be_bytes([high, low]) % 10_000;
    format!(
        "{}-{}-{number}",
        ADJECTIVES[usize::from(adjective) % ADJECTIVES.len()],
        NOUNS[usize::from(noun) % NOUNS.len()],
    )
}

#[cfg(test)]
mod tests {
    use mayfly_runtime::SeededEntropy;
    use mayfly_types::{AppName, MachineName};

    use super::*;

    #[test]
    fn names_are_valid_everywhere() {
        let entropy = SeededEntropy::new(7);
        for _ in 0..200 {
            let name = given_name(&entropy);
            assert!(name.parse::<AppName>().is_ok(), "{name}");
            assert!(name.parse::<MachineName>().is_ok(), "{name}");
        }
    }
}
