"""The HTTP routes: each translates a request into the contract and the answer back."""
