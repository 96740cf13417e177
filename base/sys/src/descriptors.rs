use std::sync::atomic::{AtomicBool, Ordering};

static DONE: AtomicBool = AtomicBool::new(false);

/// Closes every descriptor from 3 on that this process was started with, so that nothing of a careless parent stays open
/// in it. Must be the first thing `main` does: what this process has opened itself would be closed too. Only the first
/// call does anything.
pub fn close_inherited() {
    if DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: called first, there is no owner of a descriptor above the standard ones in this process yet whom it could
    // deceive. A failure leaves them open, which is how it was. rustix has no close_range. Run by
    // `nothing_of_the_starter_stays_open` of bin/mayfly-init.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
}

/// Goes on as `work` alone with nothing but the standard streams, and ends the process with its exit code: what executing
/// another program does, without one. For the child of a fork, which holds copies of everything its parent has open.
pub fn continue_alone(work: fn() -> i32) -> ! {
    // SAFETY: whoever owns a descriptor is never run again: `work` captures nothing, nothing returns from here, and
    // leaving the process runs no destructors. No static of our programs owns one. rustix has no close_range. Run by
    // the tests of bin/mayfly-init that transfer files.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    std::process::exit(work())
}
