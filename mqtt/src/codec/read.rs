//! Fields: a cursor over the bytes of one packet. No reading past the end, nothing allocated.

use crate::Breach;

/// A cursor over one packet.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at `at`.
    #[inline]
    pub const fn new(bytes: &'a [u8], at: usize) -> Self {
        Reader { bytes, at }
    }

    /// Index of the next byte.
    #[inline]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Whether nothing is left.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// How many bytes are left.
    #[inline]
    pub const fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// All that is left, taken.
    #[inline]
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at = self.bytes.len();
        rest
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`Breach::EndsEarly`].
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Breach> {
        let taken = self.bytes.get(self.at..).and_then(|left| left.get(..n)).ok_or(Breach::EndsEarly)?;
        self.at += n;
        Ok(taken)
    }

    /// Byte (1.5.1).
    ///
    /// # Errors
    /// [`Breach::EndsEarly`].
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Breach> {
        let byte = *self.bytes.get(self.at).ok_or(Breach::EndsEarly)?;
        self.at += 1;
        Ok(byte)
    }

    /// Two Byte Integer (1.5.2).
    ///
    /// # Errors
    /// [`Breach::EndsEarly`].
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Breach> {
        match self.bytes.get(self.at..) {
            Some(&[hi, lo, ..]) => {
                self.at += 2;
                Ok(u16::from_be_bytes([hi, lo]))
            }
            _ => Err(Breach::EndsEarly),
        }
    }

    /// Four Byte Integer (1.5.3).
    ///
    /// # Errors
    /// [`Breach::EndsEarly`].
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Breach> {
        match self.bytes.get(self.at..) {
            Some(&[a, b, c, d, ..]) => {
                self.at += 4;
                Ok(u32::from_be_bytes([a, b, c, d]))
            }
            _ => Err(Breach::EndsEarly),
        }
    }

    /// Variable Byte Integer (1.5.5), at most 268,435,455.
    ///
    /// # Errors
    /// [`Breach::EndsEarly`], [`Breach::LengthTooLong`], [`Breach::LengthNotMinimal`] (MQTT-1.5.5-1).
    #[inline]
    pub fn varint(&mut self) -> Result<u32, Breach> {
        let mut value = 0u32;
        for i in 0..4 {
            let digit = self.u8()?;
            value |= u32::from(digit & 0x7F) << (7 * i);
            if digit & 0x80 == 0 {
                return if i > 0 && digit == 0 { Err(Breach::LengthNotMinimal) } else { Ok(value) };
            }
        }
        Err(Breach::LengthTooLong)
    }

    /// Binary Data (1.5.6).
    ///
    /// # Errors
    /// [`Breach::EndsEarly`].
    #[inline]
    pub fn binary(&mut self) -> Result<&'a [u8], Breach> {
        let n = self.u16()?;
        self.take(usize::from(n))
    }

    /// UTF-8 Encoded String (1.5.4). Control characters, non-characters and U+FEFF are kept (MQTT-1.5.4-3).
    ///
    /// # Errors
    /// [`Breach::EndsEarly`], [`Breach::StringNotUtf8`] (MQTT-1.5.4-1), [`Breach::StringHasNul`] (MQTT-1.5.4-2).
    #[inline]
    pub fn string(&mut self) -> Result<&'a str, Breach> {
        let bytes = self.binary()?;
        if bytes.contains(&0) {
            return Err(Breach::StringHasNul);
        }
        std::str::from_utf8(bytes).map_err(|_| Breach::StringNotUtf8)
    }

    /// UTF-8 String Pair (1.5.7).
    ///
    /// # Errors
    /// As [`string`](Self::string) (MQTT-1.5.7-1).
    pub fn string_pair(&mut self) -> Result<(&'a str, &'a str), Breach> {
        Ok((self.string()?, self.string()?))
    }

    /// Packet Identifier, not 0 (2.2.1).
    ///
    /// # Errors
    /// [`Breach::EndsEarly`], [`Breach::PacketIdZero`] (MQTT-2.2.1-3).
    #[inline]
    pub fn packet_id(&mut self) -> Result<u16, Breach> {
        match self.u16()? {
            0 => Err(Breach::PacketIdZero),
            id => Ok(id),
        }
    }

    /// That nothing is left.
    ///
    /// # Errors
    /// [`Breach::BytesLeft`].
    #[inline]
    pub const fn end(&self) -> Result<(), Breach> {
        if self.is_empty() { Ok(()) } else { Err(Breach::BytesLeft) }
    }
}
