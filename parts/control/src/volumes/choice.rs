use super::VolumeWish;

/// Which volume a new machine gets whose mount names one but is none's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VolumeChoice {
    /// One that is free.
    Free,
    /// One that is free, or else a new one.
    FreeOrNew(VolumeWish),
    New(VolumeWish),
}

impl VolumeChoice {
    /// What a new one would be like, if there may be one.
    pub(super) fn new_one(&self) -> Option<&VolumeWish> {
        match self {
            VolumeChoice::Free => None,
            VolumeChoice::FreeOrNew(wish) | VolumeChoice::New(wish) => Some(wish),
        }
    }
}
