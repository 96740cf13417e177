//! What caveats are called.

/// Numbers of caveats in tokens, and the names they have in JSON; both are upstream's, but for those of our own, which begin
/// where upstream's library leaves room for others (2⁴⁸).
macro_rules! kinds {
    ($($kind:ident = $number:literal, $name:literal;)*) => {
        $(pub(crate) const $kind: u64 = $number;)*

        /// Number and name of each.
        pub(crate) const ALL: &[(u64, &str)] = &[$(($kind, $name)),*];
    };
}

kinds! {
    ORGANIZATION = 0, "Organization";
    VOLUMES = 2, "Volumes";
    APPS = 3, "Apps";
    VALIDITY_WINDOW = 4, "ValidityWindow";
    FEATURE_SET = 5, "FeatureSet";
    MUTATIONS = 6, "Mutations";
    MACHINES = 7, "Machines";
    IS_USER = 10, "IsUser";
    THIRD_PARTY = 11, "3P";
    BIND_TO_PARENT_TOKEN = 12, "BindToParentToken";
    IF_PRESENT = 13, "IfPresent";
    MACHINE_FEATURE_SET = 14, "MachineFeatureSet";
    FROM_MACHINE = 15, "FromMachineSource";
    IS_MEMBER = 22, "IsMember";
    USER_ID = 23, "FlyioUserID";
    ACTION = 26, "Action";
    COMMANDS = 27, "Commands";
    APP_FEATURE_SET = 28, "AppFeatureSet";
    ALLOWED_ROLES = 30, "AllowedRoles";
    SOURCES = 281_474_976_710_657, "Sources";
    IMAGES = 281_474_976_710_658, "Images";
    REGIONS = 281_474_976_710_659, "Regions";
}
