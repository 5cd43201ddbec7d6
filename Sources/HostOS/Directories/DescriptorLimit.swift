/// How many descriptors this process may have at a time.
package enum DescriptorLimit {}
