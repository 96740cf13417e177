use std::collections::BTreeMap;
use std::fmt::Display;

use crate::action::Action;
use crate::decide::Denied;

/// Which resources of a kind are open, and for what. The zero key (0, or the empty text) stands for all of them and
/// stands alone.
pub type Resources<Key> = BTreeMap<Key, Action>;

pub(crate) fn check<Key>(
    open: &Resources<Key>,
    wanted: Option<&Key>,
    action: Action,
    kind: &str,
    matches: impl Fn(&Key, &Key) -> bool,
) -> Result<(), Denied>
where
    Key: Ord + Default + Display,
{
    let zero = Key::default();
    if open.contains_key(&zero) && open.len() != 1 {
        return Err(Denied::BadCaveat(format!(
            "all of a kind ({kind}) and some of it at once"
        )));
    }
    let Some(wanted) = wanted else {
        return Err(Denied::unspecified(kind));
    };
    let found = open
        .iter()
        .filter(|(key, _)| **key == zero || matches(key, wanted))
        .map(|(_, granted)| *granted)
        .reduce(|all, granted| all & granted);
    match found {
        None => Err(Denied::Forbidden(format!(
            "the token does not open {kind} {wanted}"
        ))),
        Some(granted) => check_action(action, granted, kind),
    }
}

pub(crate) fn check_action(action: Action, granted: Action, kind: &str) -> Result<(), Denied> {
    if action.is_subset_of(granted) {
        return Ok(());
    }
    let missing = action.without(granted);
    Err(Denied::Forbidden(format!(
        "the token does not allow the action \"{missing}\" on the {kind}"
    )))
}
