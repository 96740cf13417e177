use std::time::{Duration, Instant};

/// How long a fact may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `fact` holds, looking again after a few milliseconds.
///
/// # Panics
/// With `what` if it does not hold after a minute.
pub fn wait_until(what: &str, mut fact: impl FnMut() -> bool) {
    wait_for(what, || fact().then_some(()));
}

/// Waits until `fact` yields a value.
///
/// # Panics
/// With `what` if there is none after a minute.
pub fn wait_for<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        if let Some(value) = fact() {
            return value;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "waited {} s in vain: {what}",
            PATIENCE.as_secs()
        );
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
