/// Roles of an organization's members, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles(pub u32);

impl Roles {
    pub const MEMBER: Roles = Roles(1);
    pub const BILLING_MANAGER: Roles = Roles(1 << 1);
    pub const ADMIN: Roles = Roles(u32::MAX);

    pub fn contains(self, other: Roles) -> bool {
        self.0 & other.0 == other.0
    }
}
