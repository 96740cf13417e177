/// A value for a placeholder. A null keeps its type, since PostgreSQL wants to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// The values for `$1`, `$2`, … of a statement, in order: `args![id.as_str(), now, None::<i64>]`.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::Value::from($value)),*] };
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(Some(value))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::Int(Some(i64::from(value)))
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Value::Int(Some(i64::from(value)))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Int(Some(i64::from(value)))
    }
}

impl From<mayfly_types::Timestamp> for Value {
    fn from(value: mayfly_types::Timestamp) -> Self {
        Value::Int(Some(value.as_millis()))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(Some(value))
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Value::Text(Some(value.clone()))
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Value::Bytes(Some(value))
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Value::Bytes(Some(value.to_vec()))
    }
}

/// The types whose absence is a null of a known type.
trait Nullable: Into<Value> {
    const NULL: Value;
}

macro_rules! nullable {
    ($($type:ty => $variant:ident),* $(,)?) => { $(
        impl Nullable for $type {
            const NULL: Value = Value::$variant(None);
        }
    )* };
}

nullable!(
    i64 => Int, u32 => Int, i32 => Int, bool => Int, mayfly_types::Timestamp => Int,
    &str => Text, String => Text, &String => Text,
    Vec<u8> => Bytes, &[u8] => Bytes,
);

impl<T: Nullable> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(T::NULL, Into::into)
    }
}
