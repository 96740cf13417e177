//! What a client wishes of the machine that answers:
//! <https://fly.io/docs/networking/dynamic-request-routing/#alternative-routing-headers>.

use mayfly_routing::{RegionList, round_trip};
use mayfly_types::{MachineId, Region};

use super::field::Kind;
use super::head::RequestHead;
use super::problem::Problem;
use crate::fleet::{Service, Wish};

/// A preference, from a client's header fields or an app's replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) prefer_regions: Option<RegionList>,
    pub(crate) force_regions: Option<RegionList>,
    /// As it was written: it may be no machine's id, which is told to the one that answers.
    pub(crate) prefer_instance: Option<String>,
    pub(crate) force_instance: Option<String>,
    pub(crate) exclude: Option<MachineId>,
}

impl Wanted {
    /// Reads a request's fields. What cannot be understood is no preference; where it must be obeyed, it is refused.
    pub(crate) fn of(head: &RequestHead) -> Result<Wanted, Problem> {
        let mut wanted = Wanted::default();
        if !head.routing {
            return Ok(wanted);
        }
        let fields = head
            .fields()
            .filter(|(kind, ..)| *kind == Kind::Routing)
            .filter_map(|(_, name, value)| {
                let value = std::str::from_utf8(value).ok()?.trim();
                (!value.is_empty()).then_some((name, value))
            });
        for (name, value) in fields {
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            if is("fly-prefer-region") {
                wanted.prefer_regions = value.parse().ok();
            } else if is("fly-force-region") {
                let regions = value.parse().map_err(|error| {
                    Problem::new(400, "bad_request", format!("Fly-Force-Region: {error}."))
                })?;
                wanted.force_regions = Some(regions);
            } else if is("fly-prefer-instance-id") {
                wanted.prefer_instance = Some(value.to_owned());
            } else if is("fly-force-instance-id") {
                wanted.force_instance = Some(value.to_owned());
            }
        }
        Ok(wanted)
    }

    /// The wish among the machines of `service`, on top of a `plain` one of a request that came in `here`.
    ///
    /// # Errors
    /// It can only be met by a machine or region that the service does not have.
    pub(crate) fn among(
        &self,
        service: &Service,
        here: &Region,
        plain: Wish,
    ) -> Result<Wish, Problem> {
        let mut wish = Wish {
            exclude: self.exclude.into_iter().collect(),
            ..plain
        };
        if self.prefer_regions.is_some() || self.force_regions.is_some() {
            let regions = regions(service, here);
            if let Some(list) = &self.prefer_regions {
                wish.prefer_regions = list.ranked(&regions);
            }
            if let Some(list) = &self.force_regions {
                wish.force_regions = list.ranked(&regions);
                if wish.force_regions.is_empty() {
                    return Err(Problem::new(
                        503,
                        "PR01",
                        format!("App {} has no machine in {list}.", service.app),
                    ));
                }
            }
        }
        wish.prefer_instance = self.prefer_instance.as_deref().and_then(machine);
        if let Some(text) = &self.force_instance {
            wish.force_instance = Some(machine(text).ok_or_else(|| {
                Problem::new(
                    404,
                    "PR02",
                    format!("App {} has no machine {text:?}.", service.app),
                )
            })?);
        }
        Ok(wish)
    }
}

impl Wanted {
    /// A preferred machine whose name is no machine's: nobody can be it.
    pub(crate) fn unknown_preferred(&self) -> Option<String> {
        let text = self.prefer_instance.as_deref()?;
        let plain = text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (plain && machine(text).is_none()).then(|| text.to_owned())
    }
}

/// Where a service has machines, nearest first.
fn regions(service: &Service, here: &Region) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    for member in &service.members {
        let region = &member.seat.backend.region;
        if !regions.contains(region) {
            regions.push(region.clone());
        }
    }
    regions.sort_by_key(|region| round_trip(here, region));
    regions
}

fn machine(text: &str) -> Option<MachineId> {
    text.to_ascii_lowercase().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(lines: &str) -> Result<Wanted, Problem> {
        let mut head = RequestHead::default();
        head.read(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes())
            .unwrap();
        Wanted::of(&head)
    }

    #[test]
    fn preferences_are_lenient_and_orders_strict() {
        let read = wanted(
            "Fly-Prefer-Region: ams, us\r\nFLY-FORCE-INSTANCE-ID: 90801679a10038\r\nfly-prefer-instance-id: nonsense\r\n",
        )
        .unwrap();
        assert_eq!(read.prefer_regions.unwrap().to_string(), "ams,us");
        assert_eq!(read.force_instance.as_deref(), Some("90801679a10038"));
        assert_eq!(read.prefer_instance.as_deref(), Some("nonsense"));
        assert_eq!(
            wanted("Fly-Prefer-Region: everywhere\r\n"),
            Ok(Wanted::default())
        );
        assert_eq!(wanted("Fly-Force-Region:\r\n"), Ok(Wanted::default()));
        let problem = wanted("Fly-Force-Region: everywhere\r\n").unwrap_err();
        assert_eq!((problem.status, problem.code), (400, "bad_request"));
    }
}
