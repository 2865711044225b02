//! Memory as the host sees it.

use ptx_sim::{Memory, MemoryError};

#[test]
fn what_is_uploaded_is_read() {
    let mut memory = Memory::new();
    let bytes: Vec<u8> = (0..100).collect();
    let [a, b] = ["a", "b"].map(|name| memory.upload(name, &bytes));
    assert_eq!((a % 256, b % 256), (0, 0));
    assert_eq!(memory.read(b + 33, 67).unwrap(), bytes[33..]);
    // What nothing has written reads as zeros to the host.
    let blank = memory.allocate("blank", 5);
    assert_eq!(memory.read(blank, 5).unwrap(), [0; 5]);
}

#[test]
fn what_is_not_allocated_is_not_read() {
    let mut memory = Memory::new();
    let a = memory.upload("a", &[1; 64]);
    let not_allocated = |address, bytes| Err(MemoryError::NotAllocated { address, bytes });
    assert_eq!(memory.read(a + 60, 5), not_allocated(a + 60, 5));
    assert_eq!(memory.read(a - 1, 1), not_allocated(a - 1, 1));
    assert_eq!(memory.read(a, u64::MAX), not_allocated(a, u64::MAX));
    assert_eq!(memory.free(a + 1), Err(MemoryError::NotAllocated { address: a + 1, bytes: 0 }));
    memory.free(a).unwrap();
    assert_eq!(memory.read(a, 1), not_allocated(a, 1));
    assert_eq!(memory.free(a), Err(MemoryError::NotAllocated { address: a, bytes: 0 }));
}

#[test]
fn places_of_the_callers_choice_lie_apart() {
    let mut memory = Memory::new();
    let mut place = |address, bytes| memory.place(address, "here", bytes, None, false);
    let not_free = |address, bytes| Err(MemoryError::NotFree { address, bytes });
    // Neighbours may touch, at any address.
    assert_eq!(place(1001, 10), Ok(()));
    assert_eq!(place(1011, 5), Ok(()));
    assert_eq!(place(990, 11), Ok(()));
    assert_eq!(place(1015, 4), not_free(1015, 4));
    assert_eq!(place(980, 11), not_free(980, 11));
    assert_eq!(place(0, 1), not_free(0, 1));
    assert_eq!(place(1 << 56, 1), not_free(1 << 56, 1));
    assert_eq!(place(u64::MAX, 2), not_free(u64::MAX, 2));
    memory.place(2001, "with contents", 3, Some(&[7, 8, 9]), false).unwrap();
    assert_eq!(memory.read(2002, 2).unwrap(), [8, 9]);
}
