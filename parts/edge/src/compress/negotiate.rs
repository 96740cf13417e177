use super::Coding;

/// Thousandths; `Accept-Encoding` has three digits behind the point.
type Weight = u16;

/// The coding that the client likes best, and among equals the best one; `None` if it wants none of ours.
///
/// Source: RFC 9110, 12.5.3.
pub(super) fn best<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Coding> {
    let mut named: [Option<Weight>; Coding::ALL.len()] = [None; Coding::ALL.len()];
    let (mut any, mut identity) = (None, None);
    for line in lines {
        for item in line.split(|byte| *byte == b',') {
            let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let weight = parts
                .find_map(|part| {
                    let value = part.strip_prefix(b"q=").or(part.strip_prefix(b"Q="))?;
                    Some(weight(value))
                })
                .unwrap_or(1000);
            let known = Coding::ALL
                .iter()
                .position(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes()));
            if let Some(index) = known {
                named[index] = Some(weight);
            } else if name.eq_ignore_ascii_case(b"x-gzip") {
                named[Coding::Gzip as usize] = Some(weight);
            } else if name == b"*" {
                any = Some(weight);
            } else if name.eq_ignore_ascii_case(b"identity") {
                identity = Some(weight);
            }
        }
    }
    let least = identity.unwrap_or(1).max(1);
    let mut best: Option<(Weight, Coding)> = None;
    for (index, coding) in Coding::ALL.into_iter().enumerate() {
        let weight = named[index].or(any).unwrap_or(0);
        if weight >= least && best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, coding));
        }
    }
    best.map(|(_, coding)| coding)
}

/// Zero for what is not a weight.
fn weight(text: &[u8]) -> Weight {
    let text = std::str::from_utf8(text).unwrap_or_default();
    match text.parse::<f32>() {
        // Between 0 and 1,000, so nothing is cut off.
        Ok(value) if (0.0..=1.0).contains(&value) => (value * 1000.0).round() as Weight,
        _ => 0,
    }
}
