//! Reading JSON so that a refusal names the path of the field at fault.

mod from_value;
mod invalid;

use serde::de::DeserializeOwned;
use serde_json::Value;

use from_value::FromValue;
pub use invalid::InvalidBody;

/// Reads a request body. An empty body reads as `{}`, since clients leave out bodies that would hold only defaults.
///
/// Inside an object `null` means the same as leaving the field out, as Go's decoder has it, except as a value of a map.
///
/// # Errors
/// The body is no JSON, a field is unknown (with the field that was probably meant), or a value has another type than
/// the field wants. Values of the right type that break a rule are for `check` methods to find.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, InvalidBody> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return read_value(&Value::Object(serde_json::Map::new()));
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| InvalidBody::syntax(&error))?;
    read_value(&value)
}

/// Reads a value that is already parsed; paths in errors begin at it.
pub fn read_value<T: DeserializeOwned>(value: &Value) -> Result<T, InvalidBody> {
    T::deserialize(FromValue(value))
}

#[cfg(test)]
mod tests;
