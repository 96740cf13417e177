use std::io;

/// One instruction of a classic BPF program, as in `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub operand: u32,
}

/// Installs a filter for this thread and what it executes, for ever.
///
/// Unlike other crates' calls this leaves `no_new_privs` as it is, so set-user-id programs go on working; the caller
/// needs CAP_SYS_ADMIN instead.
///
/// # Errors
/// `InvalidInput` for a program the kernel does not accept.
pub fn install_seccomp_filter(program: &[Instruction]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: `Instruction` has the layout of sock_filter, `len` is the slice's length, and the kernel copies the program
    // without writing to it. rustix has no seccomp; seccompiler sets no_new_privs. Run by `a_filter_takes_effect`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

    fn instruction(code: u16, jump_true: u8, jump_false: u8, operand: u32) -> Instruction {
        Instruction {
            code,
            jump_true,
            jump_false,
            operand,
        }
    }

    #[test]
    fn a_filter_takes_effect() {
        let forbid_getppid = [
            instruction(LOAD, 0, 0, 0),
            instruction(JUMP_EQUAL, 0, 1, libc::SYS_getppid as u32),
            instruction(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOANO as u32),
            instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        std::thread::spawn(move || {
            install_seccomp_filter(&forbid_getppid).unwrap();
            // SAFETY: getppid takes nothing and changes nothing; libc's own wrapper hides the error this looks for.
            let result = unsafe { libc::syscall(libc::SYS_getppid) };
            assert_eq!(result, -1);
            assert_eq!(
                io::Error::last_os_error().raw_os_error(),
                Some(libc::ENOANO)
            );
            assert!(!rustix::thread::no_new_privs().unwrap());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_bad_program_is_refused() {
        let error = install_seccomp_filter(&[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
