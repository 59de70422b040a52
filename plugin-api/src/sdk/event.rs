//! Events, as collectors see them: borrowed for the length of a call.

use crate::abi::v1_0::{EventView, FieldTag, FieldView};

/// Something that happened. The kinds and their fields are listed at [`crate::EventKind`].
#[repr(transparent)]
pub struct Event<'a>(EventView<'a>);

/// Value of a field.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// Text. What peers said is in here as they said it: escape it where it is shown.
    Text(&'a str),
    /// Certificates in DER, leaf first.
    Chain(Chain<'a>),
}

/// A certificate chain.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Chain<'a>(&'a [abi_stable::std_types::RSlice<'a, u8>]);

impl<'a> Chain<'a> {
    /// The certificates, DER, leaf first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.0.iter().map(|der| der.as_slice())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Event<'a> {
    /// Number of its kind (`EventKind::X.number()`); never reused.
    pub fn kind(&self) -> u32 {
        self.0.kind
    }

    /// Name of its kind, also where this plugin was built before that kind.
    pub fn name(&self) -> &'a str {
        self.0.name.as_str()
    }

    /// Name of its class: `security`, `lifecycle`, `traffic` or `system`.
    pub fn class(&self) -> &'static str {
        match self.0.class {
            1 => "security",
            2 => "lifecycle",
            4 => "traffic",
            8 => "system",
            _ => "other",
        }
    }

    /// Whose doing it was: `peer`, `limit`, `policy`, `plugin`, `node` or `self`.
    pub fn blame(&self) -> &'static str {
        match self.0.blame {
            1 => "peer",
            2 => "limit",
            3 => "policy",
            4 => "plugin",
            5 => "node",
            6 => "self",
            _ => "other",
        }
    }

    /// Counts the events of its node that some collector wanted, since the node's start, from 1 on. A gap is no loss: what is
    /// lost is told by an `EventsLost` event.
    pub fn sequence(&self) -> u64 {
        self.0.sequence
    }

    /// When, in milliseconds since 1970, UTC.
    pub fn time_ms(&self) -> u64 {
        self.0.time_ms
    }

    /// Name of the node.
    pub fn node(&self) -> &'a str {
        self.0.node.as_str()
    }

    /// Number of the connection; `None`: it is not about one, and what follows down to `leaf_sha256` is empty.
    pub fn connection(&self) -> Option<u64> {
        Some(self.0.connection).filter(|c| *c != 0)
    }

    /// Listener.
    pub fn listener(&self) -> &'a str {
        self.0.listener.as_str()
    }

    /// Kind of listener.
    pub fn transport(&self) -> &'a str {
        self.0.transport.as_str()
    }

    /// Address and port of the client.
    pub fn remote(&self) -> &'a str {
        self.0.remote.as_str()
    }

    /// Tenant; empty until the client is admitted.
    pub fn tenant(&self) -> &'a str {
        self.0.tenant.as_str()
    }

    /// User; empty until the client is admitted.
    pub fn user(&self) -> &'a str {
        self.0.user.as_str()
    }

    /// Client identifier; until the client is admitted (until there is a tenant) it is only claimed.
    pub fn client_id(&self) -> &'a str {
        self.0.client_id.as_str()
    }

    /// Protocol level of MQTT: 3, 4 or 5; 0 is not known yet.
    pub fn protocol(&self) -> u8 {
        self.0.protocol
    }

    /// SHA-256 of the leaf certificate that was shown.
    pub fn leaf_sha256(&self) -> Option<&'a [u8]> {
        Some(self.0.leaf_sha256.as_slice()).filter(|s| !s.is_empty())
    }

    /// Its fields, in the order of the table.
    pub fn fields(&self) -> Fields<'a> {
        Fields(self.0.fields.as_slice().iter())
    }

    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<Value<'a>> {
        self.fields().find(|(n, _)| *n == name).map(|(_, v)| v)
    }
}

/// Names and values of an event's fields.
#[derive(Clone)]
pub struct Fields<'a>(std::slice::Iter<'a, FieldView<'a>>);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        // A value of a kind that this plugin does not know is passed over.
        self.0.by_ref().find_map(|f| {
            let value = match f.tag {
                FieldTag::NUMBER => Value::Number(f.number),
                FieldTag::FLAG => Value::Flag(f.number != 0),
                FieldTag::TEXT => Value::Text(f.text.as_str()),
                FieldTag::CHAIN => Value::Chain(Chain(f.chain.as_slice())),
                _ => return None,
            };
            Some((f.name.as_str(), value))
        })
    }
}
