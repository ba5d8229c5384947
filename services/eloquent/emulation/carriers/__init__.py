"""What impairs the access links: the kernel's netem, or the wire, a process. One file a carrier; `CARRIERS` names them."""
