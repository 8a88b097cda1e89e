//! Capability sets of a child that is being prepared (capabilities(7)).
//!
//! Runs between fork and exec: raw system calls on values of the caller.

use super::stage::{Stage, check, errno};

/// Takes every capability but those in `keep` and `bound` out of the bounding set. Without CAP_SETPCAP this is not
/// possible; then no_new_privs and the change of user are what holds.
pub unsafe fn drop_bounding_set(keep: &[u8], bound: &[u8]) -> Result<(), (Stage, i32)> {
    for capability in 0..=63u8 {
        if keep.contains(&capability) || bound.contains(&capability) {
            continue;
        }
        let result = unsafe {
            libc::prctl(
                libc::PR_CAPBSET_DROP,
                libc::c_ulong::from(capability),
                0,
                0,
                0,
            )
        };
        match errno() {
            _ if result == 0 => {}
            libc::EINVAL => return Ok(()),
            libc::EPERM => return Ok(()),
            errno => return Err((Stage::Capabilities, errno)),
        }
    }
    Ok(())
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityWords {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Cuts the sets down to `keep` and raises them as ambient, so that they survive exec (capabilities(7)). One that the
/// container does not have is left out: the service finds out and says what it cannot do.
pub unsafe fn keep_capabilities(keep: &[u8]) -> Result<(), (Stage, i32)> {
    let header = CapabilityHeader {
        version: 0x2008_0522,
        pid: 0,
    };
    let mut had = [CapabilityWords::default(); 2];
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw const header, had.as_mut_ptr()) };
    check(Stage::Capabilities, if result < 0 { -1 } else { 0 })?;
    let is_had = |capability: &&u8| {
        let word = had.get(usize::from(**capability / 32));
        word.is_some_and(|word| word.permitted & (1u32 << (**capability % 32)) != 0)
    };
    let mut words = [CapabilityWords::default(); 2];
    for capability in keep.iter().filter(is_had) {
        let bit = 1u32 << (capability % 32);
        if let Some(word) = words.get_mut(usize::from(capability / 32)) {
            word.effective |= bit;
            word.permitted |= bit;
            word.inheritable |= bit;
        }
    }
    unsafe {
        let result = libc::syscall(libc::SYS_capset, &raw const header, words.as_ptr());
        check(Stage::Capabilities, if result < 0 { -1 } else { 0 })?;
        for capability in keep.iter().filter(is_had) {
            let number = libc::c_ulong::from(*capability);
            let result = libc::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_RAISE,
                number,
                0,
                0,
            );
            check(Stage::Capabilities, result)?;
        }
    }
    Ok(())
}
