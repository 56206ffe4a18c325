# What the agent ought to say at each stage of scripts/vm/guest.sh, held against
# what it says by `once --json`: a line for each, "ok" or "FAILED" before it.

def scopes: [.reports[].scopes[]];
def scope($name): scopes | map(select(.name == $name)) | first;
def outcome($name): scope($name).outcome.is;
def facets: [scopes[].facets[]];
def facet($resource; $name): facets | map(select(.resource == $resource and .name == $name)) | first;
def count($kind): facets | map(select(.owner and (.resource | startswith($kind + ":")))) | length;
def pair($list; $name): $list | map(select(.[0] == $name)) | first | .[1];
def read($name): pair(.readings; $name);
def text($name): pair(.attributes; $name);
def status: .assessment.status;
def reason: .assessment.reason;

def check($what; condition): (if (try condition catch false) == true then "ok      " else "FAILED  " end) + $what;

# Of any disk that tells of itself.
def healthy($resource): facet($resource; "smart") | read("failing") == 0 and text("health") == "passed" and status == "ok";
def warm($resource): facet($resource; "smart") | read("temperature_celsius") | . > 0 and . < 100;

def disks:
  check("the agent's own user sees five disks"; count("disk") >= 5),
  check("the processor and memory are told"; facet("memory:memory"; "main") | read("total_bytes") > 1e9);

def stages: {
  "disks-without-helper": [
    disks,
    check("without the helper SMART is denied"; outcome("smart") == "denied"),
    check("and its cure names the helper"; scope("smart").outcome.cure | contains("tomte-agent-helper")),
    check("without the helper WireGuard's peers are denied"; outcome("peer:wireguard") == "denied")
  ],
  "disks": [
    disks,
    check("no backup is configured, and nothing is denied for that"; outcome("backup") != "denied"),
    check("the helper answers, as its unit runs it"; outcome("smart") == "complete"),
    check("the NVMe disk is healthy"; healthy("disk:NVME1") and warm("disk:NVME1")),
    check("the NVMe disk tells its wear"; facet("disk:NVME1"; "smart") | read("wear_used_ratio") == 0),
    check("the solid-state disk is healthy"; healthy("disk:SSD1") and warm("disk:SSD1")),
    check("the disk that turns is healthy"; healthy("disk:ATA1")),
    check("and is left alone at the second look, as it had nothing to do"; facet("disk:ATA1"; "smart") | text("power") == "idle"),
    check("it counts reallocated sectors"; facet("disk:ATA1"; "smart") | read("reallocated_sectors") == 0),
    check("the virtual disk is not asked"; scopes | map(.name) | index("smart:VIRTIO1") == null),
    check("the SCSI disk, which cannot tell, has not failed"; [scopes[] | select(.name | startswith("smart")) | .outcome.is] | all(. == "complete")),
    check("WireGuard's peer is seen by the packaged helper"; outcome("peer:wireguard") == "complete"),
    check("and it has not been heard of"; facets | map(select(.resource | startswith("peer:wg0/"))) | first | read("online") == 0)
  ],
  "pools-none": [
    check("no pools are no error"; outcome("pool") == "complete" and count("pool") == 0),
    check("no datasets are no error"; outcome("dataset") == "complete" and count("dataset") == 0)
  ],
  "pools-good": [
    check("three pools"; outcome("pool") == "complete" and count("pool") == 3),
    check("all of them are well"; [facets[] | select(.owner and (.resource | startswith("pool:"))) | status] | all(. == "ok")),
    check("a mirror is a mirror"; facet("pool:tank"; "main") | text("type") == "mirror"),
    check("raidz is raidz"; facet("pool:raid"; "main") | text("type") == "raidz1"),
    check("the scrub has ended without errors"; facet("pool:tank"; "main") | text("scan_state") == "finished" and read("scan_errors") == 0),
    check("the quota is told"; facet("dataset:tank/data"; "main") | read("quota_bytes") == 33554432),
    check("a volume is a volume"; facet("dataset:tank/volume"; "main") | text("type") == "volume"),
    check("snapshots are counted"; facet("dataset:tank/data"; "snapshots") | read("snapshots") == 2),
    check("the cache is told"; facets | any(.resource == "arc:arc"))
  ],
  "pools-bad": [
    check("the degraded mirror is a problem"; facet("pool:tank"; "main") | status != "ok"),
    check("and the reason names the device"; facet("pool:tank"; "main") | reason | contains("m2")),
    check("the pool without a device is a problem"; facet("pool:raid"; "main") | status != "ok"),
    check("its scrub runs"; facet("pool:raid"; "main") | text("scan_state") == "running"),
    check("the pool that lost data is critical"; facet("pool:single"; "main") | status == "critical"),
    check("and its errors are counted"; facet("pool:single"; "main") | read("data_errors") > 0)
  ]
};

stages[$stage][]
