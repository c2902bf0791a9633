//! Closed sets of words: the same in the store, on the wire and in a schema.

/// Defines an enum by its words.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[schemars(inline)]
        pub enum $name {
            $(#[serde(rename = $word)] $variant),+
        }

        impl $name {
            pub const fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl rusqlite::types::ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
                Ok(self.word().into())
            }
        }

        impl rusqlite::types::FromSql for $name {
            fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<$name> {
                match value.as_str()? {
                    $($word => Ok($name::$variant),)+
                    _ => Err(rusqlite::types::FromSqlError::InvalidType),
                }
            }
        }
    };
}

words! {
    Kind { Host = "host", Vm = "vm", Service = "service", Network = "network", Address = "address" }
}

words! {
    HostKind {
        Server = "server",
        Hypervisor = "hypervisor",
        Nas = "nas",
        Router = "router",
        Switch = "switch",
        Desktop = "desktop",
        Laptop = "laptop",
        Device = "device",
        Other = "other",
    }
}

words! { VmKind { Vm = "vm", Lxc = "lxc", Other = "other" } }

words! { VmStatus { Running = "running", Stopped = "stopped", Paused = "paused", Unknown = "unknown" } }

words! {
    AllocationKind { Static = "static", Dhcp = "dhcp", Reserved = "reserved", Virtual = "virtual" }
}

words! { Action { Created = "created", Updated = "updated", Removed = "removed" } }
