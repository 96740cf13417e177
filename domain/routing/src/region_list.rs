//! An order of preference among regions: `iad,ord,us,any`.
//!
//! Source of the form and of the groups: <https://fly.io/docs/networking/dynamic-request-routing/>.

use std::fmt;
use std::str::FromStr;

use mayfly_types::Region;

/// More terms than there are regions cannot be meant.
const TERMS_MAX: usize = 64;

/// Regions in order of preference; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegionList(Vec<RegionTerm>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RegionTerm {
    Region(Region),
    Group(RegionGroup),
    /// Whichever is nearest.
    Any,
}

/// An area with several regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegionGroup {
    /// Asia-Pacific.
    Apac,
    Europe,
    NorthAmerica,
    SouthAmerica,
    UnitedStates,
}

/// A text that is not a list of regions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a region: use a three-letter code such as iad, or one of apac, eu, na, sa, us, any"
)]
pub struct InvalidRegionList {
    /// The term that does not fit, shortened.
    pub text: String,
}

const APAC: [&str; 6] = ["bom", "hkg", "maa", "nrt", "sin", "syd"];
const EUROPE: [&str; 8] = ["ams", "arn", "cdg", "fra", "lhr", "mad", "otp", "waw"];
const UNITED_STATES: [&str; 12] = [
    "atl", "bos", "den", "dfw", "ewr", "iad", "lax", "mia", "ord", "phx", "sea", "sjc",
];
const AMERICA_BESIDE_US: [&str; 4] = ["gdl", "qro", "yul", "yyz"];
const SOUTH_AMERICA: [&str; 5] = ["bog", "eze", "gig", "gru", "scl"];

impl RegionGroup {
    pub fn contains(self, region: &Region) -> bool {
        let code = region.as_str();
        match self {
            RegionGroup::Apac => APAC.contains(&code),
            RegionGroup::Europe => EUROPE.contains(&code),
            RegionGroup::NorthAmerica => {
                UNITED_STATES.contains(&code) || AMERICA_BESIDE_US.contains(&code)
            }
            RegionGroup::SouthAmerica => SOUTH_AMERICA.contains(&code),
            RegionGroup::UnitedStates => UNITED_STATES.contains(&code),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            RegionGroup::Apac => "apac",
            RegionGroup::Europe => "eu",
            RegionGroup::NorthAmerica => "na",
            RegionGroup::SouthAmerica => "sa",
            RegionGroup::UnitedStates => "us",
        }
    }
}

impl RegionList {
    pub fn terms(&self) -> &[RegionTerm] {
        &self.0
    }

    /// Whether any of the terms means `region`.
    pub fn allows(&self, region: &Region) -> bool {
        self.0.iter().any(|term| term.means(region))
    }

    /// Those of `nearest_first` that the list means, in the list's order; within a group the nearest comes first.
    pub fn ranked(&self, nearest_first: &[Region]) -> Vec<Region> {
        let mut ranked: Vec<Region> = Vec::new();
        for term in &self.0 {
            for region in nearest_first.iter().filter(|region| term.means(region)) {
                if !ranked.contains(region) {
                    ranked.push(region.clone());
                }
            }
        }
        ranked
    }
}

impl RegionTerm {
    fn means(&self, wanted: &Region) -> bool {
        match self {
            RegionTerm::Region(region) => region == wanted,
            RegionTerm::Group(group) => group.contains(wanted),
            RegionTerm::Any => true,
        }
    }
}

impl FromStr for RegionList {
    type Err = InvalidRegionList;

    /// Reads terms separated by commas; spaces around them and case do not matter.
    fn from_str(text: &str) -> Result<Self, InvalidRegionList> {
        let terms: Vec<RegionTerm> = text
            .split(',')
            .take(TERMS_MAX)
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        Ok(RegionList(terms))
    }
}

impl FromStr for RegionTerm {
    type Err = InvalidRegionList;

    fn from_str(text: &str) -> Result<Self, InvalidRegionList> {
        let word = text.trim().to_ascii_lowercase();
        Ok(match word.as_str() {
            "apac" => RegionTerm::Group(RegionGroup::Apac),
            "eu" => RegionTerm::Group(RegionGroup::Europe),
            "na" => RegionTerm::Group(RegionGroup::NorthAmerica),
            "sa" => RegionTerm::Group(RegionGroup::SouthAmerica),
            "us" | "usa" => RegionTerm::Group(RegionGroup::UnitedStates),
            "any" => RegionTerm::Any,
            code => RegionTerm::Region(code.parse().map_err(|_| InvalidRegionList {
                text: text.chars().take(40).collect(),
            })?),
        })
    }
}

impl fmt::Display for RegionList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.0.iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            match term {
                RegionTerm::Region(region) => write!(f, "{separator}{region}")?,
                RegionTerm::Group(group) => write!(f, "{separator}{}", group.as_str())?,
                RegionTerm::Any => write!(f, "{separator}any")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(codes: &str) -> Vec<Region> {
        codes.split(' ').map(|code| code.parse().unwrap()).collect()
    }

    #[test]
    fn the_list_orders_what_there_is() {
        let near = regions("ams fra iad ord gru sin xyz");
        for (list, expected) in [
            ("iad,ord,us,na", "iad ord"),
            ("us", "iad ord"),
            ("usa,eu", "iad ord ams fra"),
            ("sin, any", "sin ams fra iad ord gru xyz"),
            ("SA", "gru"),
            ("apac", "sin"),
            ("xyz", "xyz"),
        ] {
            let list: RegionList = list.parse().unwrap();
            assert_eq!(list.ranked(&near), regions(expected), "{list}");
            for region in &near {
                assert_eq!(
                    list.allows(region),
                    list.ranked(&near).contains(region),
                    "{list} {region}"
                );
            }
        }
        let absent: RegionList = "lhr".parse().unwrap();
        assert!(absent.ranked(&near).is_empty());
    }

    #[test]
    fn what_is_no_region_is_named() {
        for bad in ["", "iad,", "iadd", "i-d", "europe", "iad;ord", ","] {
            let error = bad.parse::<RegionList>().unwrap_err();
            assert!(error.to_string().contains("apac, eu, na"), "{error}");
        }
        let many = vec!["iad"; 10_000].join(",");
        assert_eq!(many.parse::<RegionList>().unwrap().terms().len(), TERMS_MAX);
    }
}
