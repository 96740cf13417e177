use super::TarError;
use super::sparse::Segment;

/// The records of an extended header that we use.
///
/// <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html>, and the GNU and Schily keywords.
#[derive(Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse_name: Option<Vec<u8>>,
    pub(super) sparse_size: Option<u64>,
    /// Versions 0.0 and 0.1; version 1.0 keeps the map before the content.
    pub(super) sparse_map: Option<Vec<Segment>>,
    sparse_major: bool,
    sparse_offset: Option<u64>,
}

impl Pax {
    /// Records are `<length> <key>=<value>\n`; only the length delimits, so values may hold any bytes.
    pub(super) fn parse(mut records: &[u8]) -> Result<Pax, TarError> {
        let mut pax = Pax::default();
        while !records.is_empty() && records[0] != 0 {
            let space = records
                .iter()
                .take(20)
                .position(|byte| *byte == b' ')
                .ok_or(TarError::Pax)?;
            let length = decimal(&records[..space]).ok_or(TarError::Pax)?;
            let length = usize::try_from(length).map_err(|_| TarError::Pax)?;
            let record = records.get(space + 1..length).ok_or(TarError::Pax)?;
            records = &records[length..];
            let (b'\n', record) = record.split_last().ok_or(TarError::Pax)? else {
                return Err(TarError::Pax);
            };
            let equals = record
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or(TarError::Pax)?;
            pax.take(&record[..equals], &record[equals + 1..])?;
        }
        Ok(pax)
    }

    pub(super) fn is_sparse(&self) -> bool {
        self.sparse_major || self.sparse_map.is_some()
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        let number = || decimal(value).ok_or(TarError::Pax);
        match key {
            // An empty value takes back what an earlier header said.
            b"path" => self.path = Some(value.to_vec()).filter(|value| !value.is_empty()),
            b"linkpath" => self.link = Some(value.to_vec()).filter(|value| !value.is_empty()),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => self.mtime = Some(time(value).ok_or(TarError::Pax)?),
            b"GNU.sparse.major" => self.sparse_major = value == b"1",
            b"GNU.sparse.name" => self.sparse_name = Some(value.to_vec()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse_size = Some(number()?),
            b"GNU.sparse.offset" => self.sparse_offset = Some(number()?),
            b"GNU.sparse.numbytes" => {
                let offset = self.sparse_offset.take().ok_or(TarError::Sparse)?;
                let length = number()?;
                self.sparse_map
                    .get_or_insert_default()
                    .push(Segment { offset, length });
            }
            b"GNU.sparse.map" => self.sparse_map = Some(map(value).ok_or(TarError::Sparse)?),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, byte| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// Seconds with an optional fraction; before 1970 counts as 1970.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    if text.first() == Some(&b'-') {
        return Some((0, 0));
    }
    let (seconds, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &[][..]),
    };
    let seconds = i64::try_from(decimal(seconds)?).ok()?;
    let mut nanos = 0;
    for place in 0..9 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        nanos = nanos * 10 + u32::from(digit.is_ascii_digit().then_some(digit - b'0')?);
    }
    Some((seconds, nanos))
}

/// `offset,length,offset,length,…`
fn map(text: &[u8]) -> Option<Vec<Segment>> {
    let mut map = Vec::new();
    let mut numbers = text.split(|byte| *byte == b',');
    while let Some(offset) = numbers.next() {
        map.push(Segment {
            offset: decimal(offset)?,
            length: decimal(numbers.next()?)?,
        });
    }
    Some(map)
}
