/// The calling side of Unix stream sockets.
package enum UnixClient {}
