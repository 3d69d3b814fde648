use std::sync::Arc;
fn anon() -> usize {
    let t = std::fs::read_to_string("/proc/self/status").unwrap();
    let l = t.lines().find(|l| l.starts_with("RssAnon")).unwrap().to_owned();
    l.split_whitespace().nth(1).unwrap().parse().unwrap()
}
#[test]
fn measure() {
    let pc = std::fs::read_to_string("/tmp/tier/m-pc.json").unwrap();
    let pod = std::fs::read_to_string("/tmp/tier/m-pod.json").unwrap();
    println!("json pc {} pod {}", pc.len(), pod.len());
    println!("sizeof polecat {} pod {} meta {} container {} condition {} spec {} status {}", size_of::<gastown_api::polecat::Polecat>(), size_of::<crate::pod_view::PodView>(), size_of::<kube::api::ObjectMeta>(), size_of::<crate::pod_view::ContainerView>(),
        size_of::<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>(), size_of::<gastown_api::polecat::PolecatSpec>(), size_of::<gastown_api::polecat::PolecatStatus>());
    let n = 5000;
    let a = anon();
    let pods: Vec<_> = (0..n).map(|_| { let mut p: crate::pod_view::PodView = serde_json::from_str(&pod).unwrap(); p.prune(); Arc::new(p) }).collect();
    let b = anon();
    let pcs: Vec<_> = (0..n).map(|_| { let mut p: gastown_api::polecat::Polecat = serde_json::from_str(&pc).unwrap(); crate::cache::prune_polecat(&mut p); Arc::new(p) }).collect();
    let c = anon();
    let packed: Vec<Box<[u8]>> = pods.iter().map(|p| serde_json::to_vec(&**p).unwrap().into_boxed_slice()).collect();
    let d = anon();
    let packed2: Vec<Box<[u8]>> = pcs.iter().map(|p| serde_json::to_vec(&**p).unwrap().into_boxed_slice()).collect();
    let e = anon();
    println!("pod {} B, polecat {} B, packed pod {} ({}), packed polecat {} ({})", (b-a)*1024/n, (c-b)*1024/n, packed[0].len(), (d-c)*1024/n, packed2[0].len(), (e-d)*1024/n);
    println!("{}", String::from_utf8_lossy(&packed[0]));
    println!("{}", String::from_utf8_lossy(&packed2[0]));
}
