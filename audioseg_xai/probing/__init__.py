"""What else the activations of a student know: linear probes of factors it was not trained for.

After the probing of Mariotte et al., "Explainable by-design Audio Segmentation through
Non-Negative Matrix Factorization and Probing", Interspeech 2024: a linear classifier has to tell
gender, genre, phone class or kind of event from activations that are averaged over time.
"""
