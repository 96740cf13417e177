use std::str::FromStr;

use mayfly_types::IpRange;

use crate::action::Action;
use crate::image_pattern::ImagePattern;
use crate::kind;
use crate::macaroon::InvalidMacaroon;
use crate::msgpack::{Reader, Writer};
use crate::resources::Resources;
use crate::role::Roles;
use crate::third_party::ThirdParty;

/// One condition a token is good under. Numbers, names and bodies are upstream's; what is not known here refuses
/// everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caveat {
    Organization {
        id: u64,
        mask: Action,
    },
    Volumes(Resources<String>),
    Apps(Resources<u64>),
    /// Both in seconds since 1970 UTC.
    ValidityWindow {
        not_before: i64,
        not_after: i64,
    },
    /// Features of the organization, by [`crate::Feature::as_str`].
    FeatureSet(Resources<String>),
    Mutations(Vec<String>),
    Machines(Resources<String>),
    /// Says who the token was made for; refuses nothing.
    IsUser(u64),
    ThirdParty(ThirdParty),
    /// In a discharge: the first bytes of the SHA-256 of the signature of the token it belongs to.
    BindToParentToken(Vec<u8>),
    IfPresent(IfPresent),
    MachineFeatureSet(Resources<String>),
    FromMachine(String),
    /// No more than a member who is no admin may do.
    IsMember,
    Action(Action),
    /// Commands that may be run in machines; none at all if it is empty.
    Commands(Vec<AllowedCommand>),
    AppFeatureSet(Resources<String>),
    AllowedRoles(Roles),
    /// Where requests may come from. Ours, as the next two.
    Sources(Vec<IpRange>),
    /// Which images may be put into the registry and run.
    Images(Vec<ImagePattern>),
    /// Where machines may be made and changed, by codes.
    Regions(Vec<String>),
    /// What a third party vouches for: nothing that is asked here.
    Attestation {
        kind: u64,
        body: Vec<u8>,
    },
    Unknown {
        kind: u64,
        body: Vec<u8>,
    },
}

/// `ifs` for what they speak of; `otherwise` is the action that is open for everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfPresent {
    pub ifs: Vec<Caveat>,
    pub otherwise: Action,
}

/// A command whose words begin with `args`, or, if `exact`, are these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedCommand {
    pub args: Vec<String>,
    pub exact: bool,
}

const ATTESTATIONS: std::ops::RangeInclusive<u64> = kind::USER_ID..=25;

/// Nested [`IfPresent`]s deeper than anybody writes them.
const DEPTH_MAX: u32 = 4;

impl Caveat {
    pub(crate) fn kind(&self) -> u64 {
        match self {
            Caveat::Organization { .. } => kind::ORGANIZATION,
            Caveat::Volumes(_) => kind::VOLUMES,
            Caveat::Apps(_) => kind::APPS,
            Caveat::ValidityWindow { .. } => kind::VALIDITY_WINDOW,
            Caveat::FeatureSet(_) => kind::FEATURE_SET,
            Caveat::Mutations(_) => kind::MUTATIONS,
            Caveat::Machines(_) => kind::MACHINES,
            Caveat::IsUser(_) => kind::IS_USER,
            Caveat::ThirdParty(_) => kind::THIRD_PARTY,
            Caveat::BindToParentToken(_) => kind::BIND_TO_PARENT_TOKEN,
            Caveat::IfPresent(_) => kind::IF_PRESENT,
            Caveat::MachineFeatureSet(_) => kind::MACHINE_FEATURE_SET,
            Caveat::FromMachine(_) => kind::FROM_MACHINE,
            Caveat::IsMember => kind::IS_MEMBER,
            Caveat::Action(_) => kind::ACTION,
            Caveat::Commands(_) => kind::COMMANDS,
            Caveat::AppFeatureSet(_) => kind::APP_FEATURE_SET,
            Caveat::AllowedRoles(_) => kind::ALLOWED_ROLES,
            Caveat::Sources(_) => kind::SOURCES,
            Caveat::Images(_) => kind::IMAGES,
            Caveat::Regions(_) => kind::REGIONS,
            Caveat::Attestation { kind, .. } | Caveat::Unknown { kind, .. } => *kind,
        }
    }

    /// Its number and body, as they stand in a token.
    pub(crate) fn write(&self, to: &mut Writer) {
        to.uint(self.kind());
        match self {
            Caveat::Organization { id, mask } => {
                to.array(2);
                to.uint(*id);
                to.uint(u64::from(mask.0));
            }
            Caveat::Apps(open) => {
                to.array(1);
                write_resources(to, open, |to, key| to.uint(*key));
            }
            Caveat::Volumes(open)
            | Caveat::FeatureSet(open)
            | Caveat::Machines(open)
            | Caveat::MachineFeatureSet(open)
            | Caveat::AppFeatureSet(open) => {
                to.array(1);
                write_resources(to, open, |to, key| to.str(key));
            }
            Caveat::ValidityWindow {
                not_before,
                not_after,
            } => {
                to.array(2);
                to.int(*not_before);
                to.int(*not_after);
            }
            Caveat::Mutations(names) => {
                to.array(1);
                write_texts(to, names);
            }
            Caveat::IsUser(id) => {
                to.array(1);
                to.uint(*id);
            }
            Caveat::ThirdParty(third_party) => third_party.write(to),
            Caveat::BindToParentToken(prefix) => to.bin(prefix),
            Caveat::IfPresent(IfPresent { ifs, otherwise }) => {
                to.array(2);
                write_all(to, ifs);
                to.uint(u64::from(otherwise.0));
            }
            Caveat::FromMachine(id) => {
                to.array(1);
                to.str(id);
            }
            Caveat::IsMember => to.array(0),
            Caveat::Action(mask) => to.uint(u64::from(mask.0)),
            Caveat::Commands(commands) => {
                to.array(commands.len());
                for command in commands {
                    to.array(2);
                    write_texts(to, &command.args);
                    to.bool(command.exact);
                }
            }
            Caveat::AllowedRoles(roles) => to.uint(u64::from(roles.0)),
            Caveat::Sources(ranges) => {
                to.array(1);
                write_shown(to, ranges);
            }
            Caveat::Images(patterns) => {
                to.array(1);
                write_shown(to, patterns);
            }
            Caveat::Regions(codes) => {
                to.array(1);
                write_texts(to, codes);
            }
            Caveat::Attestation { body, .. } | Caveat::Unknown { body, .. } => {
                to.0.extend(body);
            }
        }
    }

    pub(crate) fn read(kind: u64, body: &[u8], depth: u32) -> Result<Caveat, InvalidMacaroon> {
        let mut from = Reader::new(body);
        let caveat = match kind {
            kind::ORGANIZATION => {
                from.fields(2)?;
                Caveat::Organization {
                    id: from.uint()?,
                    mask: read_action(&mut from)?,
                }
            }
            kind::VOLUMES => Caveat::Volumes(read_resources(&mut from, read_text)?),
            kind::APPS => Caveat::Apps(read_resources(&mut from, Reader::uint)?),
            kind::VALIDITY_WINDOW => {
                from.fields(2)?;
                Caveat::ValidityWindow {
                    not_before: read_seconds(&mut from)?,
                    not_after: read_seconds(&mut from)?,
                }
            }
            kind::FEATURE_SET => Caveat::FeatureSet(read_resources(&mut from, read_text)?),
            kind::MUTATIONS => {
                from.fields(1)?;
                Caveat::Mutations(read_texts(&mut from)?)
            }
            kind::MACHINES => Caveat::Machines(read_resources(&mut from, read_text)?),
            kind::IS_USER => {
                from.fields(1)?;
                Caveat::IsUser(from.uint()?)
            }
            kind::THIRD_PARTY => Caveat::ThirdParty(ThirdParty::read(&mut from)?),
            kind::BIND_TO_PARENT_TOKEN => Caveat::BindToParentToken(from.bin()?.to_owned()),
            kind::IF_PRESENT => {
                from.fields(2)?;
                Caveat::IfPresent(IfPresent {
                    ifs: read_all(&mut from, depth)?,
                    otherwise: read_action(&mut from)?,
                })
            }
            kind::MACHINE_FEATURE_SET => {
                Caveat::MachineFeatureSet(read_resources(&mut from, read_text)?)
            }
            kind::FROM_MACHINE => {
                from.fields(1)?;
                Caveat::FromMachine(read_text(&mut from)?)
            }
            kind::IS_MEMBER => {
                from.fields(0)?;
                Caveat::IsMember
            }
            kind::ACTION => Caveat::Action(read_action(&mut from)?),
            kind::COMMANDS => Caveat::Commands(read_commands(&mut from)?),
            kind::APP_FEATURE_SET => Caveat::AppFeatureSet(read_resources(&mut from, read_text)?),
            kind::ALLOWED_ROLES => {
                let roles = u32::try_from(from.uint()?);
                Caveat::AllowedRoles(Roles(
                    roles.map_err(|_| InvalidMacaroon::Malformed("roles"))?,
                ))
            }
            kind::SOURCES => {
                from.fields(1)?;
                Caveat::Sources(read_parsed(&mut from, "a range of addresses")?)
            }
            kind::IMAGES => {
                from.fields(1)?;
                Caveat::Images(read_parsed(&mut from, "a pattern of images")?)
            }
            kind::REGIONS => {
                from.fields(1)?;
                Caveat::Regions(read_texts(&mut from)?)
            }
            kind if ATTESTATIONS.contains(&kind) => Caveat::Attestation {
                kind,
                body: from.raw()?.to_owned(),
            },
            kind => Caveat::Unknown {
                kind,
                body: from.raw()?.to_owned(),
            },
        };
        from.end()?;
        Ok(caveat)
    }
}

/// A list of caveats: number and body, number and body.
pub(crate) fn write_all(to: &mut Writer, caveats: &[Caveat]) {
    to.array(2 * caveats.len());
    for caveat in caveats {
        caveat.write(to);
    }
}

fn read_all(from: &mut Reader<'_>, depth: u32) -> Result<Vec<Caveat>, InvalidMacaroon> {
    let depth = depth
        .checked_sub(1)
        .ok_or(InvalidMacaroon::Malformed("nested too deeply"))?;
    (0..read_count(from)?)
        .map(|_| {
            let kind = from.uint()?;
            Caveat::read(kind, from.raw()?, depth)
        })
        .collect()
}

/// How many caveats follow.
pub(crate) fn read_count(from: &mut Reader<'_>) -> Result<usize, InvalidMacaroon> {
    let length = from.array()?;
    match length % 2 {
        0 => Ok(length / 2),
        _ => Err(InvalidMacaroon::Malformed("a caveat without a body")),
    }
}

/// The caveats of a body that stands by itself.
pub(crate) fn read_list(from: &mut Reader<'_>) -> Result<Vec<Caveat>, InvalidMacaroon> {
    read_all(from, DEPTH_MAX)
}

/// A caveat at the top of a token, with its bytes.
pub(crate) fn read_signed(from: &mut Reader<'_>) -> Result<(Caveat, Vec<u8>), InvalidMacaroon> {
    let kind = from.uint()?;
    let body = from.raw()?;
    let mut signed = Writer::default();
    signed.uint(kind);
    signed.0.extend(body);
    Ok((Caveat::read(kind, body, DEPTH_MAX)?, signed.0))
}

fn write_resources<Key>(
    to: &mut Writer,
    open: &Resources<Key>,
    write_key: impl Fn(&mut Writer, &Key),
) {
    to.map(open.len());
    for (key, action) in open {
        write_key(to, key);
        to.uint(u64::from(action.0));
    }
}

fn read_resources<'a, Key: Ord>(
    from: &mut Reader<'a>,
    read_key: impl Fn(&mut Reader<'a>) -> Result<Key, InvalidMacaroon>,
) -> Result<Resources<Key>, InvalidMacaroon> {
    from.fields(1)?;
    (0..from.map()?)
        .map(|_| Ok((read_key(from)?, read_action(from)?)))
        .collect()
}

fn read_action(from: &mut Reader<'_>) -> Result<Action, InvalidMacaroon> {
    let bits = u16::try_from(from.uint()?);
    bits.map(Action)
        .map_err(|_| InvalidMacaroon::Malformed("an action"))
}

fn read_seconds(from: &mut Reader<'_>) -> Result<i64, InvalidMacaroon> {
    i64::try_from(from.int()?).map_err(|_| InvalidMacaroon::Malformed("a time"))
}

fn read_text(from: &mut Reader<'_>) -> Result<String, InvalidMacaroon> {
    from.str().map(str::to_owned)
}

fn write_texts(to: &mut Writer, texts: &[String]) {
    to.array(texts.len());
    texts.iter().for_each(|text| to.str(text));
}

fn read_texts(from: &mut Reader<'_>) -> Result<Vec<String>, InvalidMacaroon> {
    (0..from.array()?).map(|_| read_text(from)).collect()
}

fn write_shown(to: &mut Writer, values: &[impl ToString]) {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    write_texts(to, &texts);
}

fn read_parsed<T: FromStr>(
    from: &mut Reader<'_>,
    what: &'static str,
) -> Result<Vec<T>, InvalidMacaroon> {
    let malformed = |_| InvalidMacaroon::Malformed(what);
    let texts = read_texts(from)?;
    let values = texts.iter().map(|text| text.parse().map_err(malformed));
    values.collect()
}

fn read_commands(from: &mut Reader<'_>) -> Result<Vec<AllowedCommand>, InvalidMacaroon> {
    (0..from.array()?)
        .map(|_| {
            from.fields(2)?;
            Ok(AllowedCommand {
                args: read_texts(from)?,
                exact: from.bool()?,
            })
        })
        .collect()
}
