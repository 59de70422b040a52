//! What the table of events becomes: [`EventKind`](super::EventKind), [`Fact`](super::Fact) and what is known of them.

macro_rules! events {
    ($($(#[doc = $doc:literal])* $number:literal $name:ident $class:ident $blame:ident {
        $($(#[doc = $field_doc:literal])* $field:ident: $type:ty),* $(,)?
    })*) => {
        /// Kind of an event, and the fields that come with it.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        pub enum EventKind {
            $(
                $(#[doc = $doc])*
                #[doc = ""]
                $(#[doc = concat!("- `", stringify!($field), ": ", stringify!($type), "`:")] $(#[doc = $field_doc])*)*
                $name = $number,
            )*
        }

        /// What happened.
        #[derive(Clone, PartialEq, Debug)]
        pub enum Fact {
            $($(#[doc = $doc])* $name { $($(#[doc = $field_doc])* $field: $type,)* },)*
        }

        impl EventKind {
            /// Every kind, in the order of the table.
            pub const ALL: &[EventKind] = &[$(EventKind::$name),*];

            /// Its number.
            pub const fn number(self) -> u32 {
                self as u32
            }

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(EventKind::$name => stringify!($name),)* }
            }

            /// The kind of that name.
            pub fn from_name(name: &str) -> Option<EventKind> {
                EventKind::ALL.iter().find(|kind| kind.name() == name).copied()
            }

            /// What it means, as it is written in the table: for reference pages.
            pub const fn meaning(self) -> &'static str {
                match self { $(EventKind::$name => concat!($($doc, "\n"),*),)* }
            }

            /// Its fields, in the order of the table: name, type as the table writes it, and meaning.
            pub const fn fields(self) -> &'static [(&'static str, &'static str, &'static str)] {
                match self {
                    $(EventKind::$name => &[
                        $((stringify!($field), stringify!($type), concat!($($field_doc, "\n"),*))),*
                    ],)*
                }
            }

            /// Its class.
            pub const fn class(self) -> Class {
                match self { $(EventKind::$name => Class::$class,)* }
            }

            /// Whose doing it is, unless the event's field `blame` says otherwise.
            pub const fn blame(self) -> Blame {
                match self { $(EventKind::$name => Blame::$blame,)* }
            }
        }

        impl Fact {
            /// Its kind.
            pub const fn kind(&self) -> EventKind {
                match self { $(Fact::$name { .. } => EventKind::$name,)* }
            }

            /// One of this kind with every field filled in: for tests of collectors, which must bear whatever comes.
            pub fn filled(kind: EventKind, filling: &Filling) -> Fact {
                let _ = filling;
                match kind {
                    $(EventKind::$name => Fact::$name { $($field: FieldValue::filled(filling),)* },)*
                }
            }

            /// Hands each field to `each`, in the order of the table.
            pub fn fields<'a>(&'a self, each: &mut dyn FnMut(&'static str, Value<'a>)) {
                match self {
                    $(Fact::$name { $($field),* } => { let _ = &each; $(each(stringify!($field), FieldValue::value($field));)* })*
                }
            }
        }
    };
}

pub(super) use events;
