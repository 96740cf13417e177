use crate::error::ApiError;

/// As documented: <https://fly.io/docs/volumes/overview/>.
const SIZE_GB_MAX: u32 = 500;
const NAME_MAX: usize = 30;

/// A size in GB.
///
/// # Errors
/// 422 that names `field` and what it allows.
pub(crate) fn size_gb(field: &str, wanted: i64) -> Result<u32, ApiError> {
    let size = u32::try_from(wanted).ok();
    size.filter(|size| (1..=SIZE_GB_MAX).contains(size))
        .ok_or_else(|| {
            ApiError::invalid(format!(
                "{field} must be a number of GB from 1 to {SIZE_GB_MAX}, got {wanted}"
            ))
        })
}

/// # Errors
/// 422 that names `field` and what it allows.
pub(crate) fn check_name(field: &str, name: &str) -> Result<(), ApiError> {
    let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_letter) {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "{field} must be 1 to {NAME_MAX} lower-case letters, digits and underscores, got \"{}\"",
        name.chars().take(80).collect::<String>()
    )))
}
