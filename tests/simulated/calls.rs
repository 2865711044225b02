//! Any operation on one device.

use norm_host::Simulator;
use proptest::prelude::*;

use crate::{alone, device, groups::told};
use norm_testing::{
    case::case,
    config,
    device::on_device::{Shifts, judge, normalize},
};

/// How far off an address that suits vectors each tensor is.
fn shifts() -> impl Strategy<Value = Shifts> {
    let shift = || prop_oneof![3 => Just(0), 1 => 0_usize..3];
    [shift(), shift(), shift(), shift(), shift(), shift()].prop_map(|[x, w, b, y, r, s]| Shifts {
        x,
        w,
        b,
        y,
        r,
        s,
    })
}

proptest! {
    #![proptest_config(config(200))]

    /// It keeps the promise, and has the bits of the backend that launches nothing.
    #[test]
    fn any_call_keeps_the_promise(case in case(3000), by in shifts()) {
        let _alone = alone();
        let device = device(0);
        let after = normalize(device, &case, by).and_then(|after| judge(&case, &after).map(|()| after));
        let after = told(after)?;
        let mut on_the_host = case.tensors();
        case.run(&mut on_the_host, &Simulator::with_profile(device.profile())).expect("it ran on a device");
        prop_assert_eq!(after.y.bits(), on_the_host.y.bits());
        prop_assert_eq!(after.r.map(|r| r.bits()), on_the_host.r.map(|r| r.bits()));
        prop_assert_eq!(after.s.map(|s| s.bits()), on_the_host.s.map(|s| s.bits()));
    }
}
