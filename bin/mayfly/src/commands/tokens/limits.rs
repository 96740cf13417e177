use clap::Args;
use mayfly_access::{Caveat, ImagePattern, Macaroon, PERMISSION_LOCATION};
use mayfly_types::{IpRange, Region};

/// Under which circumstances a token is good, beside what it opens.
#[derive(Args, Debug)]
pub(crate) struct Limits {
    /// Good only from these addresses, such as 203.0.113.7 or 203.0.113.0/24
    #[arg(long, value_name = "RANGE", value_delimiter = ',')]
    source: Vec<IpRange>,
    /// Pushes and runs only these images: a repository, the beginning of a digest (sha256:3b1c) or both
    /// (registry.fly.io/hello@sha256:3b1c)
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    image: Vec<ImagePattern>,
    /// Makes and changes machines only in these regions
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    region: Vec<Region>,
}

impl Limits {
    pub(super) fn is_empty(&self) -> bool {
        self.source.is_empty() && self.image.is_empty() && self.region.is_empty()
    }

    /// Adds what was asked for to those of the tokens that open anything; discharges cannot be narrowed.
    pub(super) fn narrow<'a>(
        &self,
        tokens: impl IntoIterator<Item = &'a mut Macaroon>,
    ) -> anyhow::Result<()> {
        for token in tokens {
            if token.location == PERMISSION_LOCATION {
                self.caveats()
                    .into_iter()
                    .try_for_each(|caveat| token.add(caveat))?;
            }
        }
        Ok(())
    }

    fn caveats(&self) -> Vec<Caveat> {
        let mut caveats = Vec::new();
        if !self.source.is_empty() {
            caveats.push(Caveat::Sources(self.source.clone()));
        }
        if !self.image.is_empty() {
            caveats.push(Caveat::Images(self.image.clone()));
        }
        if !self.region.is_empty() {
            let codes = self.region.iter().map(Region::to_string);
            caveats.push(Caveat::Regions(codes.collect()));
        }
        caveats
    }
}
