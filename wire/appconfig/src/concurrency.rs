use mayfly_wire::ServiceConcurrency;

use crate::AppConfig;

impl AppConfig {
    /// Lays limits over those of all services, or of those of one process group; what `limits` leaves out stays. Returns how
    /// many services there were.
    pub fn set_concurrency(&mut self, group: Option<&str>, limits: &ServiceConcurrency) -> usize {
        let is_meant: Vec<bool> = self
            .all_services()
            .iter()
            .map(|(_, service)| {
                group.is_none_or(|group| self.is_for(service.processes.as_ref(), group))
            })
            .collect();
        let short = self.http_service.iter_mut().map(|one| &mut one.concurrency);
        let long = self.services.iter_mut().flatten();
        let all = short.chain(long.map(|one| &mut one.concurrency));
        let meant = all.zip(is_meant).filter(|(_, is_meant)| *is_meant);
        meant
            .map(|(concurrency, _)| {
                let now = concurrency.get_or_insert_default();
                now.soft_limit = limits.soft_limit.or(now.soft_limit);
                now.hard_limit = limits.hard_limit.or(now.hard_limit);
                now.limit_type = limits.limit_type.clone().or(now.limit_type.take());
            })
            .count()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_reach_the_services_that_are_meant() {
        let written = json!({
            "app": "a",
            "processes": { "web": "", "feed": "" },
            "http_service": { "internal_port": 80, "processes": ["web"], "concurrency": { "type": "requests", "hard_limit": 9 } },
            "services": [{ "internal_port": 90, "processes": ["feed"] }],
        });
        let limits = ServiceConcurrency {
            soft_limit: Some(5),
            ..ServiceConcurrency::default()
        };
        for (group, count, web, feed) in [
            (
                None,
                2,
                json!({ "type": "requests", "hard_limit": 9, "soft_limit": 5 }),
                json!({ "soft_limit": 5 }),
            ),
            (
                Some("feed"),
                1,
                json!({ "type": "requests", "hard_limit": 9 }),
                json!({ "soft_limit": 5 }),
            ),
            (
                Some("none"),
                0,
                json!({ "type": "requests", "hard_limit": 9 }),
                json!(null),
            ),
        ] {
            let mut config = AppConfig::from_value(&written).unwrap();
            assert_eq!(config.set_concurrency(group, &limits), count, "{group:?}");
            let value = config.to_value();
            assert_eq!(value["http_service"]["concurrency"], web, "{group:?}");
            assert_eq!(value["services"][0]["concurrency"], feed, "{group:?}");
        }
    }
}
