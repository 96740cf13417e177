use axum::extract::FromRequestParts;
use http::request::Parts;
use mayfly_wire::closest;

use crate::error::ApiError;

/// The query of a request as pairs in their order; names may repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map(|query| Query(query.0))
            .map_err(|_| ApiError::unreadable("the query is not made of name=value pairs"))
    }
}

impl Query {
    /// The last value of `name`, unless it is empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).last().filter(|value| !value.is_empty())
    }

    pub(crate) fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    /// The pairs whose name begins with `prefix`, without it.
    pub(crate) fn beginning_with(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// `true`/`1` or `false`/`0`; a name without a value is true.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.all(name).last() {
            None | Some("false" | "0" | "f" | "False" | "FALSE") => Ok(false),
            Some("" | "true" | "1" | "t" | "True" | "TRUE") => Ok(true),
            Some(_) => Err(ApiError::unreadable(format!(
                "query parameter \"{name}\" must be true or false"
            ))),
        }
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn number(
        &self,
        name: &str,
        least: i64,
        most: i64,
    ) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(ApiError::unreadable(format!(
                "query parameter \"{name}\" must be a whole number from {least} to {most}"
            ))),
        }
    }

    /// Parses the value of `name`; the error of its type says what is wanted.
    pub(crate) fn parsed<T>(&self, name: &str) -> Result<Option<T>, ApiError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let value = self.text(name).map(str::parse).transpose();
        value.map_err(|error: T::Err| {
            ApiError::unreadable(format!("query parameter \"{name}\": {error}"))
        })
    }

    /// Refuses names that begin like one of `known` but are none, since a filter that is not applied misleads.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        for (name, _) in &self.0 {
            let accepted = known.iter().any(|known| match known.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => known == name,
            });
            if !accepted && let Some(meant) = closest(name, known.iter().copied()) {
                return Err(ApiError::unreadable(format!(
                    "unknown query parameter \"{name}\"; did you mean \"{meant}\"?"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Query {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Query(pairs.iter().map(own).collect())
    }

    #[test]
    fn values_are_refused_by_name() {
        let query = query(&[
            ("limit", "x"),
            ("force", "yes"),
            ("state", "a"),
            ("state", "b"),
        ]);
        assert!(query.number("limit", 1, 5).is_err());
        assert!(query.flag("force").is_err());
        assert_eq!(query.all("state").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(query.number("other", 1, 5), Ok(None));
    }

    #[test]
    fn misspelt_filters_are_refused_and_foreign_names_are_not() {
        let known = ["region", "state", "metadata.*"];
        assert!(
            query(&[("metadata.a", "b"), ("zone", "c")])
                .only(&known)
                .is_ok()
        );
        assert!(query(&[("regions", "iad")]).only(&known).is_err());
    }
}
