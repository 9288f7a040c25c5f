"""How little it takes to fool a network, and what makes it take more: attacks, norms, criteria, suites,
certificates.
"""
