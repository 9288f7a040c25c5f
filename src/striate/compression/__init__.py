"""Smaller and faster models: pruning, weight sharing, coding, quantisation, factorisation, distillation; a ledger of
what each step gains.
"""
