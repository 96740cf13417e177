//! Looks after every custom name: checks DNS, obtains, renews, warns.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use mayfly_certs::acme::Method;
use mayfly_control_store::{
    App, By, CertificateSource, CustomHostname, Progress, StoreError, StoredCertificate,
};
use mayfly_runtime::{Backoff, LoopHandle, LoopStatus, Stop, report};
use mayfly_types::{ErrorKind, Hostname, Timestamp};
use serde_json::json;
use tracing::warn;

use super::findings::{Findings, Verdict};
use super::issue::{IssueError, Issuer, LOCAL, Outcome, Wanted};
use super::needs::Needs;
use super::schedule::{AT_REST, patience_for, pause_after, renew_at, warnings_due};
use crate::cloud::Cloud;

/// Names looked after at the same time, and read at once.
const TOGETHER: usize = 8;
const BATCH: u32 = 100;

/// Another process may have written to the same database.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

const RETRY: Backoff = Backoff {
    first: Duration::from_secs(1),
    most: Duration::from_secs(60),
};

/// The loop.
pub(crate) struct Keeper {
    cloud: Arc<Cloud>,
    issuer: Issuer,
    status: LoopHandle,
    /// The platform's own certificate could not be had; try again then.
    platform_retry_at: Timestamp,
}

impl Keeper {
    pub(crate) fn new(cloud: Arc<Cloud>) -> Self {
        Self {
            issuer: Issuer::new(cloud.clone()),
            status: cloud.loops.loop_named("control.certificates"),
            cloud,
            platform_retry_at: Timestamp::default(),
        }
    }

    pub(crate) async fn run(mut self, stop: Stop) {
        let mut news = self.cloud.store.watch();
        let mut failures = 0;
        while !stop.is_cancelled() {
            news.borrow_and_update();
            let began = self.cloud.now();
            let turn = tokio::select! {
                () = stop.cancelled() => return,
                turn = self.turn() => turn,
            };
            let mut status = LoopStatus {
                ran_at: Some(began),
                took: self.cloud.now().since(began),
                ..LoopStatus::default()
            };
            let pause = match turn {
                Ok((done, next)) => {
                    failures = 0;
                    status.applied = done;
                    next.until(self.cloud.now()).min(LOOK_AGAIN)
                }
                Err(error) => {
                    failures += 1;
                    status.last_error = Some(report(&error));
                    RETRY.pause(failures)
                }
            };
            self.status.publish(status);
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = news.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// How many names were looked after, and when the next is due.
    async fn turn(&mut self) -> Result<(u64, Timestamp), StoreError> {
        let platform_next = self.keep_platform().await?;
        let due = self
            .cloud
            .store
            .due_hostnames(self.cloud.now(), BATCH)
            .await?;
        let keeper = &*self;
        let mut looked_after = stream::iter(due)
            .map(|hostname| keeper.keep(hostname))
            .buffer_unordered(TOGETHER);
        let mut done = 0;
        while let Some(kept) = looked_after.next().await {
            match kept {
                Ok(()) => done += 1,
                // Removed while we looked after it.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let next = self.cloud.store.next_due_hostname().await?;
        Ok((
            done,
            next.map_or(platform_next, |next| next.min(platform_next)),
        ))
    }

    /// `<domain>` and `*.<domain>`, for the names every app has of itself.
    async fn keep_platform(&mut self) -> Result<Timestamp, StoreError> {
        let now = self.cloud.now();
        let domain = self.cloud.settings.domain.clone();
        let known = self
            .cloud
            .store
            .certificates_of(None, domain.clone())
            .await?;
        let known = known
            .into_iter()
            .find(|known| known.source == CertificateSource::Fly);
        if let Some(known) = &known {
            if self.is_good(known, LOCAL, now) {
                return Ok(renew_at(known));
            }
            self.warn(known, now).await?;
        }
        if self.platform_retry_at > now {
            return Ok(self.platform_retry_at);
        }
        let (Ok(base), Ok(wildcard)) = (domain.parse(), format!("*.{domain}").parse()) else {
            // A domain of one label has no wildcard browsers would take.
            return Ok(now + AT_REST);
        };
        let wanted = Wanted {
            app: None,
            hostname: domain,
            names: vec![base, wildcard],
            method: Method::Dns01,
        };
        match self.issuer.issue_locally(&wanted).await {
            Ok(()) => Ok(now),
            Err(IssueError::Store(error)) => Err(error),
            Err(error) => {
                warn!(
                    error = report(&error),
                    "no certificate for the platform's domain"
                );
                self.platform_retry_at = now + Duration::from_secs(60);
                Ok(self.platform_retry_at)
            }
        }
    }

    /// One look at a name, with whatever follows from it.
    async fn keep(&self, hostname: CustomHostname) -> Result<(), StoreError> {
        let cloud = &self.cloud;
        let now = cloud.now();
        let app = cloud.store.app_by_id(hostname.app_id).await?;
        let (hostname, verdict) = cloud.check_hostname(&app, &hostname).await?;
        for certificate in &hostname.certificates {
            self.warn(certificate, now).await?;
        }
        let progress = self.next_step(&hostname, verdict, now).await?;
        cloud
            .store
            .set_hostname_progress(hostname.app_id, hostname.name.clone(), progress)
            .await
    }

    async fn next_step(
        &self,
        hostname: &CustomHostname,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<Progress, StoreError> {
        let acme = self.cloud.certificates.acme.as_ref();
        let authority = acme.map_or(LOCAL, |acme| acme.directory_url());
        let has = hostname
            .certificates
            .iter()
            .find(|certificate| certificate.source == CertificateSource::Fly);
        let age = now.since(hostname.updated_at);
        let mut progress = Progress {
            next_at: now + patience_for(age),
            attempts: hostname.attempts,
            limited_until: hostname.limited_until.filter(|until| *until > now),
            failure: hostname.failure.clone(),
        };
        let wants = hostname.acme && hostname.holder;
        if !wants || has.is_some_and(|has| self.is_good(has, authority, now)) {
            if has.is_some() || (hostname.holder && verdict.points_here) {
                progress.next_at = now + AT_REST;
            }
            for certificate in &hostname.certificates {
                let moments = [renew_at(certificate), certificate.not_after];
                for moment in moments.into_iter().filter(|moment| *moment > now) {
                    progress.next_at = progress.next_at.min(moment);
                }
            }
            progress.attempts = 0;
            progress.failure = None;
            return Ok(progress);
        }
        let earliest = self.not_before(hostname);
        if earliest > now {
            progress.next_at = earliest;
            return Ok(progress);
        }
        let wanted = Wanted {
            app: Some(hostname.app_id),
            hostname: hostname.name.to_string(),
            names: vec![hostname.name.clone()],
            method: method(&hostname.name, verdict, hostname.attempts),
        };
        let outcome = match acme {
            None => self
                .issuer
                .issue_locally(&wanted)
                .await
                .map(|()| Outcome::Issued),
            Some(acme) => {
                self.drop_pointless_order(&wanted).await?;
                self.issuer.advance(acme, &wanted).await
            }
        };
        let failed = |code: &str, reason: String| {
            json!({
                "code": code,
                "message": reason,
                "remediation": "Check the records of the name; the order is repeated by itself.",
                "timestamp": now,
            })
        };
        match outcome {
            Ok(Outcome::Issued) => {
                progress.next_at = now;
                progress.attempts = 0;
                progress.failure = None;
            }
            Ok(Outcome::Waiting(pause)) => progress.next_at = self.cloud.now() + pause,
            Ok(Outcome::Limited(until)) => {
                progress.limited_until = Some(until);
                progress.next_at = until;
            }
            Ok(Outcome::Failed { code, reason }) => {
                progress.attempts += 1;
                progress.next_at = self.cloud.now() + pause_after(progress.attempts);
                progress.failure = Some(failed(code, reason));
            }
            Err(IssueError::Store(error)) => return Err(error),
            Err(error) => {
                let reason = report(&error);
                warn!(hostname = %hostname.name, error = reason, "no certificate yet");
                progress.next_at = self.cloud.now() + Duration::from_secs(10);
                progress.failure = Some(failed("ISSUER_UNAVAILABLE", reason));
            }
        }
        Ok(progress)
    }

    /// Failures and limits hold also when somebody asks for a check.
    fn not_before(&self, hostname: &CustomHostname) -> Timestamp {
        let failed_at = hostname
            .failure
            .as_ref()
            .and_then(|failure| failure["timestamp"].as_str()?.parse().ok());
        let after_failure = failed_at
            .filter(|_| hostname.attempts > 0)
            .map(|at: Timestamp| at + pause_after(hostname.attempts));
        let moments = [after_failure, hostname.limited_until];
        moments.into_iter().flatten().max().unwrap_or_default()
    }

    /// A text in DNS nobody has set is not waited for once the name leads here by itself.
    async fn drop_pointless_order(&self, wanted: &Wanted) -> Result<(), StoreError> {
        let store = &self.cloud.store;
        let order = store
            .acme_order(wanted.app, wanted.hostname.clone())
            .await?;
        let waits = order.is_some_and(|order| order.method == Method::Dns01.as_str());
        if waits && wanted.method != Method::Dns01 {
            store
                .delete_acme_order(wanted.app, wanted.hostname.clone())
                .await?;
        }
        Ok(())
    }

    fn is_good(&self, certificate: &StoredCertificate, authority: &str, now: Timestamp) -> bool {
        certificate.authority == authority && renew_at(certificate) > now
    }

    /// Says in the log that a certificate nears its end, or has reached it.
    async fn warn(
        &self,
        certificate: &StoredCertificate,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let due = warnings_due(certificate, now);
        if due <= certificate.warned {
            return Ok(());
        }
        let (hostname, source) = (certificate.hostname.clone(), certificate.source);
        let kind = if due == 3 {
            "certificate.expired"
        } else {
            "certificate.expiring"
        };
        let note = json!({
            "hostname": hostname,
            "source": source.as_str(),
            "expires_at": certificate.not_after,
        });
        warn!(hostname, expires_at = %certificate.not_after, "{kind}");
        let store = &self.cloud.store;
        let by = By::platform(now);
        store
            .note_certificate(certificate.app_id, kind, note, by)
            .await?;
        store
            .set_certificate_warned(certificate.app_id, hostname, source, due)
            .await
    }
}

/// How a name is proved: in a handshake or by a file where it leads here, by a file behind somebody's proxy, in DNS
/// where neither can be. A wildcard is proved in DNS only (RFC 8555, 7.1.3).
fn method(name: &Hostname, verdict: Verdict, attempts: u32) -> Method {
    match (name.is_wildcard(), verdict.points_here, verdict.owner) {
        (false, true, _) if attempts.is_multiple_of(2) && verdict.only_here => Method::TlsAlpn01,
        (false, true, _) | (false, false, true) => Method::Http01,
        _ => Method::Dns01,
    }
}

impl Cloud {
    /// Asks DNS about a name and keeps what it says; the app gets the name if that proves that it is its own.
    pub(super) async fn check_hostname(
        &self,
        app: &App,
        hostname: &CustomHostname,
    ) -> Result<(CustomHostname, Verdict), StoreError> {
        let needs = Needs::of(self, app, &hostname.name);
        let resolver = &self.certificates.resolver;
        let findings = Findings::look_up(resolver, &hostname.name, &needs, self.now()).await;
        let verdict = findings.verdict(&needs);
        let proven = !hostname.holder && self.is_proven(hostname, verdict, &findings).await?;
        let value = serde_json::to_value(&findings).expect("texts and addresses are JSON");
        let by = self.by_platform();
        let hostname = self
            .store
            .record_findings(hostname.app_id, hostname.name.clone(), value, proven, by)
            .await?;
        Ok((hostname, verdict))
    }

    /// Whether DNS names this app rather than the one that has the name now.
    async fn is_proven(
        &self,
        hostname: &CustomHostname,
        verdict: Verdict,
        findings: &Findings,
    ) -> Result<bool, StoreError> {
        let Some(holder) = self.store.holder_of(hostname.name.clone()).await? else {
            return Ok(verdict.owner || verdict.names_app);
        };
        let other = self.store.app_by_id(holder.app_id).await?;
        let theirs = findings.verdict(&Needs::of(self, &other, &hostname.name));
        // Within one organization only what names the app can move a name from one app to another.
        let ours = verdict.names_app || (verdict.owner && holder.org_id != hostname.org_id);
        Ok(ours && !theirs.names_app)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_method_follows_from_what_dns_says() {
        let verdict = |points_here, only_here, owner| Verdict {
            points_here,
            only_here,
            owner,
            ..Verdict::default()
        };
        for (name, verdict, attempts, wanted) in [
            ("x.test", verdict(true, true, false), 0, Method::TlsAlpn01),
            ("x.test", verdict(true, true, false), 1, Method::Http01),
            ("x.test", verdict(true, true, false), 2, Method::TlsAlpn01),
            ("x.test", verdict(true, false, false), 0, Method::Http01),
            ("x.test", verdict(false, false, true), 0, Method::Http01),
            ("x.test", verdict(false, false, false), 0, Method::Dns01),
            ("*.x.test", verdict(true, true, true), 0, Method::Dns01),
        ] {
            assert_eq!(
                method(&name.parse().unwrap(), verdict, attempts),
                wanted,
                "{name} {verdict:?}"
            );
        }
    }
}
