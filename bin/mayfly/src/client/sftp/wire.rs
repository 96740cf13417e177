/// A request under construction; its id is put in when it is sent.
pub(super) struct Request(Vec<u8>);

impl Request {
    pub(super) fn of(kind: u8) -> Self {
        // Room for the length, then the kind, then room for the id.
        Request(vec![0, 0, 0, 0, kind, 0, 0, 0, 0])
    }

    pub(super) fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).expect("pieces and paths are short");
        let mut longer = self.u32(length);
        longer.0.extend_from_slice(bytes);
        longer
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(super) fn framed(mut self, id: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).expect("requests are short");
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0[5..9].copy_from_slice(&id.to_be_bytes());
        self.0
    }
}

/// The fields of an answer, from the front.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Fields(bytes)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    /// The mode of a file; the rest of its attributes is passed over.
    pub(super) fn attributes(&mut self) -> Option<u32> {
        let flags = self.u32()?;
        let has = |bit| flags & bit != 0;
        let mut mode = 0;
        if has(1) {
            self.take(8)?;
        }
        if has(2) {
            self.take(8)?;
        }
        if has(4) {
            mode = self.u32()?;
        }
        if has(8) {
            self.take(8)?;
        }
        Some(mode)
    }
}
