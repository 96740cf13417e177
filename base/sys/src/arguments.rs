use std::fs;
use std::io;

/// Replaces what `/proc/<pid>/cmdline` and `/proc/<pid>/environ` show of this process by `title`, as far as it fits, and
/// zeros. Reading the environment afterwards finds nothing.
///
/// # Errors
/// `InvalidInput` in a process with more than one thread, which might be reading its environment.
pub fn replace_arguments(title: &[u8]) -> io::Result<()> {
    // SAFETY: unsharing CLONE_THREAD alone only tests for a second thread. Run by every test of bin/mayfly-init.
    crate::checked(unsafe { libc::unshare(libc::CLONE_THREAD) })?;
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (begin, arguments_end, end) = regions(&stat).ok_or(io::ErrorKind::InvalidData)?;
    let Some(room) = arguments_end
        .checked_sub(begin)
        .filter(|_| end >= arguments_end)
    else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let shown = title.len().min(room.saturating_sub(1));
    // SAFETY: from begin to end lie the argument and environment strings the kernel put on the stack, writable and alive
    // as long as the process. They stay strings: each old start now points at zeros or into the title, which ends with a
    // zero. Only one thread exists, and std copies what it reads of them. No safe call reaches them. Run by
    // `nothing_of_the_host_is_visible` of bin/mayfly-init.
    unsafe {
        std::ptr::write_bytes(begin as *mut u8, 0, end - begin);
        std::ptr::copy_nonoverlapping(title.as_ptr(), begin as *mut u8, shown);
    }
    Ok(())
}

/// Start and end of the arguments, and the end of the environment if it lies behind them: fields 48, 49 and 51 of
/// proc_pid_stat(5).
fn regions(stat: &str) -> Option<(usize, usize, usize)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let field = |number: usize| {
        after_name
            .split_ascii_whitespace()
            .nth(number - 3)?
            .parse()
            .ok()
    };
    let (begin, arguments_end) = (field(48)?, field(49)?);
    let (environment, environment_end): (usize, usize) = (field(50)?, field(51)?);
    if begin == 0 {
        return None;
    }
    let end = if environment == arguments_end {
        environment_end
    } else {
        arguments_end
    };
    Some((begin, arguments_end, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_regions_behind_any_name() {
        let fields: Vec<String> = (3..=52).map(|number| (number * 100).to_string()).collect();
        let stat = format!("17 (a ) (b) {}", fields.join(" "));
        assert_eq!(regions(&stat), Some((4800, 4900, 4900)));
        assert_eq!(regions("17 (a) S 1"), None);
    }
}
