/// Whole files of the host.
package enum HostFile {}
