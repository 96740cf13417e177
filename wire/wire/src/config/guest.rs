use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::optional_fields::optional_fields;

optional_fields! {
    /// How large the machine is.
    pub struct Guest {
        pub cpu_kind: String,
        pub cpus: i64,
        pub memory_mb: i64,
        pub max_memory_mb: i64,
        pub gpus: i64,
        pub gpu_kind: String,
        pub host_dedication_id: String,
        /// Deprecated: see [`Rootfs`].
        pub persist_rootfs: RootfsPersist,
        pub kernel_args: Vec<String>,
    }

    pub struct Rootfs {
        pub persist: RootfsPersist,
        pub size_gb: i64,
    }

    pub struct CacheDrive {
        pub size_mb: i64,
    }

    pub struct Spot {
        pub max_price_fraction: f64,
    }
}

/// `never`, `restart` or `always`; old clients send the numbers 0 to 3 instead, 0 and 1 both meaning `never`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RootfsPersist {
    #[default]
    Never,
    Restart,
    Always,
}

impl RootfsPersist {
    pub const fn as_str(self) -> &'static str {
        match self {
            RootfsPersist::Never => "never",
            RootfsPersist::Restart => "restart",
            RootfsPersist::Always => "always",
        }
    }
}

impl Serialize for RootfsPersist {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RootfsPersist {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl de::Visitor<'_> for Reader {
            type Value = RootfsPersist;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one of \"never\", \"restart\", \"always\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RootfsPersist, E> {
                match text {
                    "" | "none" | "never" => Ok(RootfsPersist::Never),
                    "restart" => Ok(RootfsPersist::Restart),
                    "always" => Ok(RootfsPersist::Always),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<RootfsPersist, E> {
                match number {
                    0 | 1 => Ok(RootfsPersist::Never),
                    2 => Ok(RootfsPersist::Restart),
                    3 => Ok(RootfsPersist::Always),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(number), &self)),
                }
            }
        }

        deserializer.deserialize_any(Reader)
    }
}
