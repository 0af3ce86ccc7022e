//! A Linux guest: what in its configuration depends on the source's hardware, and how it is freed from it. Every editor
//! takes a file's text and returns the new one with each change; comments, order and unknown lines stay as they are.

pub mod bootloader;
pub mod esp;
pub mod facts;
pub mod firstboot;
pub mod fstab;
pub mod identity;
pub mod initramfs;
mod kernel_line;
pub mod network;
pub mod storage;
pub mod tools;
