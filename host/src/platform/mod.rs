//! What depends on the system, each with the same names for Unix and for Windows: only here and in the modules of the same name of other
//! crates is it asked which system this is. Linux is what is tested; for Windows it is compiled, and was run under Wine alone.
//!
//! | name | Unix | Windows |
//! |---|---|---|
//! | `admin` | a Unix socket; its file says who may | a named pipe; its default access control list does: this user and administrators |
//! | `Stop`, `Reloads` | TERM and INT, HUP | Ctrl-C, Ctrl-Break, the console's end, shutdown; a reload is a command's |
//! | `supervisor` | `sd_notify` | nobody is told |
//! | `users_file` | replaced in one step, with its owner and mode | written in place, so that its access control list stays |
//! | `Silent` | a terminal without echo | refused: a password comes by a file or pipe |
//! | `mode` | who may use a file | not known |
//! | `create_new` | with a mode | as the directory's access control list says |
//! | `fingerprint` | inode, size, time | two times and the size |
//! | `bind_again` | a port is bound again at once | is so anyway; the option would let others take a port that is in use |
//! | `bound_unread` | TCP_USER_TIMEOUT | no such bound |
//! | `resident_bytes` | from `/proc` | not known |

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
pub(crate) use windows::*;

use std::io;

/// What could not be done, and why.
pub(crate) type Failed = (&'static str, io::Error);
