//! The places machines can be in.

mod table;

use mayfly_types::Region;
use mayfly_wire::RegionInfo;

use table::PLACES;

/// A place by its three-letter code, as airports are named.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    code: &'static str,
    name: &'static str,
    /// Degrees; south and west are negative.
    latitude: f64,
    longitude: f64,
    geo_region: &'static str,
    /// The code that took over where this one was given up.
    successor: Option<&'static str>,
}

/// The regions this fleet has hosts in.
#[derive(Clone, Debug)]
pub(crate) struct Regions {
    served: Vec<Region>,
    /// Those with a WireGuard gateway.
    gateways: Vec<Region>,
}

impl Regions {
    /// `served` must name at least one region; the first is the default.
    pub(crate) fn new(served: Vec<Region>, gateways: Vec<Region>) -> Self {
        Self { served, gateways }
    }

    pub(crate) fn served(&self) -> &[Region] {
        &self.served
    }

    pub(crate) fn default_region(&self) -> &Region {
        self.served
            .first()
            .expect("a fleet has at least one region")
    }

    /// The region called `code`.
    ///
    /// # Errors
    /// A sentence that names the served regions, and what became of a code that was given up or is merely far away.
    pub(crate) fn find(&self, code: &str) -> Result<Region, String> {
        if let Some(region) = self.served.iter().find(|region| region.as_str() == code) {
            return Ok(region.clone());
        }
        let served: Vec<&str> = self.served.iter().map(Region::as_str).collect();
        let mut text = format!(
            "region \"{code}\" has no hosts here; use one of {}",
            served.join(", ")
        );
        if let Some(place) = place(code) {
            let retired = place.successor.map_or_else(String::new, |code| {
                format!(", which was succeeded by {code}")
            });
            let nearest = self.nearest(place);
            text.push_str(&format!(
                " ({code} is {}{retired}; nearest here: {nearest})",
                place.name
            ));
        }
        Err(text)
    }

    fn nearest(&self, wanted: &Place) -> &Region {
        let distance = |region: &Region| {
            place(region.as_str()).map_or(f64::MAX, |place| kilometres(wanted, place))
        };
        self.served
            .iter()
            .min_by(|one, other| distance(one).total_cmp(&distance(other)))
            .unwrap_or_else(|| self.default_region())
    }

    /// Each served region as the API describes it; one unknown to the table keeps its code for a name.
    pub(crate) fn describe(&self) -> Vec<RegionInfo> {
        let describe = |region: &Region| {
            let place = place(region.as_str());
            RegionInfo {
                code: region.to_string(),
                name: place.map_or(region.as_str(), |place| place.name).to_owned(),
                latitude: place.map_or(0.0, |place| place.latitude),
                longitude: place.map_or(0.0, |place| place.longitude),
                gateway_available: self.gateways.contains(region),
                requires_paid_plan: false,
                deprecated: place.is_some_and(|place| place.successor.is_some()),
                capacity: 0,
                geo_region: place
                    .map_or("north_america", |place| place.geo_region)
                    .to_owned(),
                mpg_available: false,
            }
        };
        self.served.iter().map(describe).collect()
    }
}

fn place(code: &str) -> Option<&'static Place> {
    PLACES.iter().find(|place| place.code == code)
}

/// Great-circle distance on a sphere of 6371 km (haversine).
fn kilometres(one: &Place, other: &Place) -> f64 {
    let (from, to) = (one.latitude.to_radians(), other.latitude.to_radians());
    let across = (other.longitude - one.longitude).to_radians();
    let half =
        ((to - from) / 2.0).sin().powi(2) + from.cos() * to.cos() * (across / 2.0).sin().powi(2);
    2.0 * 6371.0 * half.sqrt().asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        for place in &PLACES {
            assert!(place.code.parse::<Region>().is_ok(), "{}", place.code);
            assert!(place.latitude.abs() <= 90.0 && place.longitude.abs() <= 180.0);
            let named = PLACES.iter().filter(|other| other.code == place.code);
            assert_eq!(named.count(), 1, "{}", place.code);
            if let Some(code) = place.successor {
                let successor = super::place(code).unwrap();
                assert_eq!(successor.successor, None, "{}", place.code);
            }
        }
    }

    #[test]
    fn a_region_without_hosts_is_refused_with_the_nearest() {
        let regions = Regions::new(
            vec!["iad".parse().unwrap(), "fra".parse().unwrap()],
            Vec::new(),
        );
        assert_eq!(regions.find("fra").unwrap().as_str(), "fra");
        let waw = regions.find("waw").unwrap_err();
        assert!(waw.contains("use one of iad, fra"), "{waw}");
        assert!(
            waw.contains("Warsaw") && waw.contains("nearest here: fra"),
            "{waw}"
        );
        assert!(
            regions
                .find("sjc")
                .unwrap_err()
                .contains("nearest here: iad")
        );
        let none = regions.find("zzz").unwrap_err();
        assert!(none.ends_with("use one of iad, fra"), "{none}");
    }
}
