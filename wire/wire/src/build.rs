use std::collections::BTreeMap;

use mayfly_types::Secret;
use serde::{Deserialize, Serialize};

/// The first message of a build's stream; the context follows as a tar stream once the other side is [`BuildEvent::Ready`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StartBuild {
    /// The Dockerfile's text: it need not be part of the context.
    pub dockerfile: String,
    /// The stage to build; the last one without it.
    pub target: Option<String>,
    pub args: BTreeMap<String, String>,
    /// Shown to steps that ask for them by id, and kept nowhere.
    pub secrets: BTreeMap<String, Secret>,
    pub labels: BTreeMap<String, String>,
    /// Build every step anew.
    pub no_cache: bool,
    /// What the image is tagged with in the app's repository; `None` leaves it in the builder.
    pub tag: Option<String>,
    /// How the pushed layers are compressed; `None` is gzip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// From 0 to 9; what the compression usually has without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression_level: Option<u8>,
}

/// Of an image's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    Gzip,
    Zstd,
}

/// What a builder says, as text messages; the output of the build comes as binary ones in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildEvent {
    /// What is done before the build can begin.
    Preparing {
        message: String,
    },
    /// The builder takes the context, as binary messages that an empty one ends.
    Ready {
        builder: String,
    },
    /// The build is done, and the image is where it shall be.
    Done(BuiltImage),
    Failed(BuildFailure),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltImage {
    /// By tag and digest, as machines may name it; empty for an image that was not pushed.
    pub image: String,
    /// Of the image's configuration.
    pub id: String,
    /// For people, as `74.8 MB`.
    pub size: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildFailure {
    pub reason: String,
    /// As the Dockerfile says it, if one of its steps failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Of the program that the step ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}
