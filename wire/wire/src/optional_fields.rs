/// Structs whose fields may all be left out, refuse fields they do not know, and write only what is set.
#[doc(hidden)]
#[macro_export]
macro_rules! optional_fields {
    ($($(#[$doc:meta])* pub struct $name:ident {
        $($(#[$field_attribute:meta])* pub $field:ident: $type:ty,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[$field_attribute])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
        }
    )*};
}
pub(crate) use optional_fields;
