use std::collections::HashMap;

use http::Uri;

/// The parameters of a request; of one that comes twice, the last.
pub(super) struct Query(HashMap<String, String>);

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let read = axum::extract::Query::try_from_uri(uri);
        Self(read.map_or_else(|_| HashMap::new(), |query| query.0))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
