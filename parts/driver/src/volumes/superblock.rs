use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use mayfly_host_api::VolumeSpace;

/// What we need of ext4's superblock; all fields are little-endian, at the offsets of
/// <https://docs.kernel.org/filesystems/ext4/super.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    block_bytes: u64,
    blocks: u64,
    /// Taken by the filesystem's own tables.
    overhead: u64,
    free: u64,
    reserved: u64,
    has_errors: bool,
}

const OFFSET: u64 = 1024;
const BYTES: usize = 1024;
const MAGIC: u16 = 0xef53;
const ERROR_FS: u16 = 2;
/// The largest block, 64 KiB, as a power of two above 1 KiB.
const LOG_BLOCK_MAX: u32 = 6;

impl Superblock {
    /// Of a disk, or of the device it is mounted from: the kernel then answers with its own copy.
    ///
    /// # Errors
    /// `InvalidData` if there is no ext4 filesystem.
    pub(super) fn read(disk: &File) -> io::Result<Superblock> {
        let mut raw = [0; BYTES];
        disk.read_exact_at(&mut raw, OFFSET)?;
        Superblock::parse(&raw).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn parse(raw: &[u8; BYTES]) -> Option<Superblock> {
        let u16_at = |at: usize| u16::from_le_bytes([raw[at], raw[at + 1]]);
        let u32_at =
            |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
        let u64_of =
            |low: usize, high: usize| u64::from(u32_at(low)) | u64::from(u32_at(high)) << 32;
        let log_block = u32_at(0x18);
        if u16_at(0x38) != MAGIC || log_block > LOG_BLOCK_MAX {
            return None;
        }
        Some(Superblock {
            block_bytes: 1024 << log_block,
            blocks: u64_of(0x04, 0x150),
            overhead: u32_at(0x248).into(),
            free: u64_of(0x0c, 0x158),
            reserved: u64_of(0x08, 0x154),
            has_errors: u16_at(0x3a) & ERROR_FS != 0,
        })
    }

    /// As `statfs` tells it of the mounted filesystem.
    pub(super) fn space(&self) -> VolumeSpace {
        VolumeSpace {
            block_size: self.block_bytes,
            blocks: self.blocks.saturating_sub(self.overhead),
            blocks_free: self.free,
            blocks_avail: self.free.saturating_sub(self.reserved),
        }
    }

    /// Whether the filesystem leaves whole blocks of a disk of so many bytes unused.
    pub(super) fn is_within(&self, disk_bytes: u64) -> bool {
        self.blocks < self.blocks_of(disk_bytes)
    }

    pub(super) fn blocks_of(&self, disk_bytes: u64) -> u64 {
        disk_bytes / self.block_bytes
    }

    /// The kernel found something wrong while it was mounted.
    pub(super) fn has_errors(&self) -> bool {
        self.has_errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_kernel_has_them() {
        let mut raw = [0; BYTES];
        assert_eq!(Superblock::parse(&raw), None, "not ext4");
        let mut put = |at: usize, value: &[u8]| raw[at..at + value.len()].copy_from_slice(value);
        put(0x38, &MAGIC.to_le_bytes());
        put(0x18, &2_u32.to_le_bytes());
        put(0x04, &262_144_u32.to_le_bytes());
        put(0x150, &1_u32.to_le_bytes());
        put(0x0c, &1000_u32.to_le_bytes());
        put(0x08, &10_u32.to_le_bytes());
        put(0x248, &144_u32.to_le_bytes());
        put(0x3a, &3_u16.to_le_bytes());
        let read = Superblock::parse(&raw).unwrap();
        assert!(read.has_errors());
        assert_eq!(
            read.space(),
            VolumeSpace {
                block_size: 4096,
                blocks: (1 << 32) + 262_000,
                blocks_free: 1000,
                blocks_avail: 990,
            }
        );
        let full = ((1_u64 << 32) + 262_144) * 4096;
        assert!(!read.is_within(full + 4095));
        assert!(read.is_within(full + 4096));
        raw[0x18] = 7;
        assert_eq!(Superblock::parse(&raw), None, "no block is so large");
    }
}
