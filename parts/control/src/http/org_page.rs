//! Lists of everything an organization has, by page: `/v1/orgs/<slug>/machines`, `/volumes`.

use std::fmt::Display;
use std::str::FromStr;

use mayfly_types::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::query::Query;
use crate::error::ApiError;

/// Things in one page, and in the largest.
const LIMIT: i64 = 100;
const LIMIT_MAX: i64 = 1000;

/// Which page is asked for; things follow each other by id.
pub(crate) struct OrgPage<Id> {
    pub(crate) limit: u32,
    /// The last one of the page before.
    pub(crate) after: Option<Id>,
    pub(crate) updated_since: Option<Timestamp>,
}

impl<Id: FromStr<Err: Display> + Display> OrgPage<Id> {
    pub(crate) const PARAMETERS: [&str; 3] = ["updated_after", "cursor", "limit"];

    pub(crate) fn asked_for(query: &Query) -> Result<OrgPage<Id>, ApiError> {
        let limit = query.number("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT);
        Ok(OrgPage {
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            after: query.parsed("cursor")?,
            updated_since: query.parsed("updated_after")?,
        })
    }

    /// The page as an answer, with the things under `name`. `marks` are their ids and the times of their last changes.
    pub(crate) fn answer(
        &self,
        name: &str,
        things: &[impl Serialize],
        marks: &[(Id, Timestamp)],
    ) -> Value {
        let is_full = marks.len() >= self.limit as usize;
        let next = marks.last().filter(|_| is_full);
        json!({
            name: things,
            "next_cursor": next.map_or_else(String::new, |(id, _)| id.to_string()),
            "last_updated_at": marks.iter().map(|(_, updated_at)| updated_at).max(),
            "error_regions": [],
        })
    }
}
