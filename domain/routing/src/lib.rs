//! The rules by which requests find machines, decided without a runtime, a clock or a socket.
//!
//! [`choose`] says where a request goes and which machine is woken for it, [`surplus`] which machine may rest,
//! [`round_trip`] how far regions are from each other. [`RegionList`] is an order of preference among regions as users
//! write it, [`Replay`] an app's wish that its request be answered elsewhere. Whoever calls them holds the counters
//! and performs the effects.

mod choose;
mod place;
mod region_list;
mod replay;
mod surplus;

pub use choose::{Asleep, Candidate, Choice, Out, Standing, Waiting, choose};
pub use place::{NEAREST, UNKNOWN, round_trip};
pub use region_list::{InvalidRegionList, RegionGroup, RegionList, RegionTerm};
pub use replay::{
    CacheOrder, CacheRule, Fallback, InstanceName, InvalidReplay, Party, REPLAY_BODY_MAX,
    REPLAY_JSON, REPLAY_JSON_MAX, REPLAYS_MAX, Replay, ReplayFailure, ReplayHeaders, ReplayOrigin,
    ReplayRefusal, ReplaySources, Transform, UrlPattern, replay_failed, replay_src,
};
pub use surplus::{Resting, Running, surplus};
