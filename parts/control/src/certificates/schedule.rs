//! When something is due: renewals, warnings, and the next look at what is not there yet. Pure.

use std::time::Duration;

use mayfly_control_store::StoredCertificate;
use mayfly_types::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a long-lived certificate is renewed before its end.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Warnings of a long-lived certificate's end that was not renewed.
const WARN_BEFORE: [Duration; 2] = [
    Duration::from_secs(14 * 24 * 3600),
    Duration::from_secs(7 * 24 * 3600),
];

/// How often a name with everything in order is looked at.
pub(super) const AT_REST: Duration = Duration::from_secs(6 * 3600);

/// When a certificate is to be renewed: 30 days before its end, or a third of its life if that is shorter.
pub(super) fn renew_at(certificate: &StoredCertificate) -> Timestamp {
    let life = certificate.not_after.since(certificate.not_before);
    certificate.not_after - RENEW_BEFORE.min(life / 3)
}

/// How many warnings of its end a certificate has earned: none, two, or three once it has ended.
pub(super) fn warnings_due(certificate: &StoredCertificate, now: Timestamp) -> u32 {
    let life = certificate.not_after.since(certificate.not_before);
    let left = certificate.not_after.since(now);
    if left.is_zero() {
        return 3;
    }
    // A short-lived one is warned of in the same places of the last third of its life.
    let thresholds = WARN_BEFORE.into_iter().zip([6, 12]);
    let due = thresholds.filter(|(before, part)| left <= (*before).min(life / *part));
    u32::try_from(due.count()).expect("there are two")
}

/// The pause after an order failed for the `attempts`th time: Let's Encrypt allows five failures per name and hour.
pub(super) fn pause_after(attempts: u32) -> Duration {
    match attempts {
        0 | 1 => Duration::from_secs(5),
        2 => MINUTE,
        3 => 15 * MINUTE,
        4 => HOUR,
        _ => 6 * HOUR,
    }
}

/// How long to wait for DNS to change: people look at a name they have just added, and forget old ones.
pub(super) fn patience_for(age: Duration) -> Duration {
    if age < 10 * MINUTE {
        Duration::from_secs(10)
    } else if age < DAY {
        2 * MINUTE
    } else {
        30 * MINUTE
    }
}

#[cfg(test)]
mod tests {
    use mayfly_control_store::CertificateSource;

    use super::*;

    fn lasting(life: Duration) -> StoredCertificate {
        let begin = Timestamp::from_millis(0);
        StoredCertificate {
            app_id: None,
            hostname: "x.test".to_owned(),
            source: CertificateSource::Fly,
            authority: String::new(),
            chain: String::new(),
            sealed_key: Vec::new(),
            names: Vec::new(),
            issuer: String::new(),
            serial: String::new(),
            key_type: String::new(),
            not_before: begin,
            not_after: begin + life,
            created_at: begin,
            warned: 0,
        }
    }

    #[test]
    fn renewal_comes_before_warnings_and_warnings_before_the_end() {
        for (life, renewal, first, second) in [
            (90 * DAY, 60 * DAY, 76 * DAY, 83 * DAY),
            (6 * DAY, 4 * DAY, 5 * DAY, 5 * DAY + 12 * HOUR),
            (12 * MINUTE, 8 * MINUTE, 10 * MINUTE, 11 * MINUTE),
        ] {
            let certificate = lasting(life);
            let at = |span: Duration| Timestamp::from_millis(0) + span;
            assert_eq!(renew_at(&certificate), at(renewal));
            let just_before = Duration::from_millis(1);
            for (span, warnings) in [
                (renewal, 0),
                (first - just_before, 0),
                (first, 1),
                (second - just_before, 1),
                (second, 2),
                (life - just_before, 2),
                (life, 3),
            ] {
                assert_eq!(
                    warnings_due(&certificate, at(span)),
                    warnings,
                    "{life:?} {span:?}"
                );
            }
        }
    }

    #[test]
    fn failures_stay_within_five_an_hour() {
        let hour: Duration = (1..=5).map(pause_after).sum();
        assert!(hour > HOUR);
    }
}
