use mayfly_types::Region;

/// Distance of a region from itself.
pub const NEAREST: u16 = 0;
/// Distance to or from a region whose place nobody knows: farther than any known one.
pub const UNKNOWN: u16 = u16::MAX;

/// Latitude and longitude of the cities behind the codes: <https://fly.io/docs/reference/regions/>.
#[rustfmt::skip]
const PLACES: [(&str, f64, f64); 35] = [
    ("ams", 52.3676, 4.9041),
    ("arn", 59.3293, 18.0686),
    ("atl", 33.7490, -84.3880),
    ("bog", 4.7110, -74.0721),
    ("bom", 19.0760, 72.8777),
    ("bos", 42.3601, -71.0589),
    ("cdg", 48.8566, 2.3522),
    ("den", 39.7392, -104.9903),
    ("dfw", 32.7767, -96.7970),
    ("ewr", 40.7895, -74.0565),
    ("eze", -34.8546, -58.5223),
    ("fra", 50.1109, 8.6821),
    ("gdl", 20.6597, -103.3496),
    ("gig", -22.9068, -43.1729),
    ("gru", -23.5558, -46.6396),
    ("hkg", 22.3193, 114.1694),
    ("iad", 39.0438, -77.4874),
    ("jnb", -26.2041, 28.0473),
    ("lax", 34.0522, -118.2437),
    ("lhr", 51.5074, -0.1278),
    ("mad", 40.4168, -3.7038),
    ("mia", 25.7617, -80.1918),
    ("nrt", 35.6762, 139.6503),
    ("ord", 41.8781, -87.6298),
    ("otp", 44.4268, 26.1025),
    ("phx", 33.4484, -112.0740),
    ("qro", 20.5888, -100.3899),
    ("scl", -33.4489, -70.6693),
    ("sea", 47.6062, -122.3321),
    ("sin", 1.3521, 103.8198),
    ("sjc", 37.3382, -121.8863),
    ("syd", -33.8688, 151.2093),
    ("waw", 52.2297, 21.0122),
    ("yul", 45.5017, -73.5673),
    ("yyz", 43.6532, -79.3832),
];

/// About how long a packet takes between two regions and back, in tenths of a millisecond.
///
/// Estimated from the great circle: light in fibre makes 200 km in a millisecond, and cables run half as long again.
pub fn round_trip(one: &Region, other: &Region) -> u16 {
    if one == other {
        return NEAREST;
    }
    let (Some(from), Some(to)) = (coordinates(one), coordinates(other)) else {
        return UNKNOWN;
    };
    let tenths = kilometres(from, to) * 0.15;
    // The longest way on earth is 3,000 tenths; two places are never as near as one.
    (tenths as u16).max(NEAREST + 1)
}

fn coordinates(region: &Region) -> Option<(f64, f64)> {
    PLACES
        .iter()
        .find(|(code, ..)| *code == region.as_str())
        .map(|(_, latitude, longitude)| (*latitude, *longitude))
}

/// Great-circle distance on a sphere of 6371 km (haversine).
fn kilometres(one: (f64, f64), other: (f64, f64)) -> f64 {
    let (from, to) = (one.0.to_radians(), other.0.to_radians());
    let across = (other.1 - one.1).to_radians();
    let half =
        ((to - from) / 2.0).sin().powi(2) + from.cos() * to.cos() * (across / 2.0).sin().powi(2);
    2.0 * 6371.0 * half.sqrt().asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(one: &str, other: &str) -> u16 {
        round_trip(&one.parse().unwrap(), &other.parse().unwrap())
    }

    #[test]
    fn distances_order_regions_as_the_map_does() {
        assert_eq!(apart("iad", "iad"), NEAREST);
        assert_eq!(apart("zzz", "zzz"), NEAREST);
        assert_eq!(apart("iad", "zzz"), UNKNOWN);
        assert_eq!(apart("ams", "syd"), apart("syd", "ams"));
        for [near, far] in [
            ["fra", "cdg"],
            ["cdg", "iad"],
            ["iad", "nrt"],
            ["nrt", "syd"],
        ] {
            assert!(apart("ams", near) < apart("ams", far), "{near} {far}");
        }
        // London to Amsterdam is some 360 km.
        assert!(
            (20..100).contains(&apart("lhr", "ams")),
            "{}",
            apart("lhr", "ams")
        );
    }
}
